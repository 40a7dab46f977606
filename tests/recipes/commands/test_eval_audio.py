"""``intaglio eval audio``: what it prints and writes, what it reads, and how it fails."""

import json
import math

import pytest
import soundfile
import torch

from intaglio.codecs import load
from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.bundle import save
from intaglio.codecs.decoders.seanet import SEANetDecoder
from intaglio.codecs.encoders.seanet import SEANetEncoder
from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.codecs.quantizers.residual import ResidualQuantizer
from intaglio.data.manifest import Record, write_manifest

SUITE = ("--suite", "audio-tokens")
QUICK = ("--metrics", "mel,si_sdr", "--baselines", "none")


@pytest.fixture
def data(record, tmp_path):
    for name in ("a.wav", "deep/b.flac", "c.wav"):
        record(tmp_path / "data" / name, 4000)
    return tmp_path / "data"


def test_table_records_and_audio(intaglio, data, bundle, tmp_path):
    status, out, err = intaglio(
        "eval", "audio", "--codec", bundle, "--data", data, "--metrics", "mel,si_sdr",
        "--baselines", "opus-6k", "--json", tmp_path / "e.json", "--save-audio", tmp_path / "audio",
    )  # fmt: skip
    assert status == 0, err
    assert "3 recordings, 2 s" in out and "tiny" in out and "opus-6k" in out
    assert "codebook 1: " in out and " of 63 codes used" in out
    original, ours, opus = json.loads((tmp_path / "e.json").read_text())
    assert (original["system"], original["metrics"], original["items"]) == ("original", {}, 3)
    assert ours["name"] == str(data) and ours["metrics"].keys() == {"mel", "si_sdr"}
    assert ours["bits_per_second"] == pytest.approx(400 * 5.977, rel=1e-3)
    assert 0 < ours["tokens"]["entropy_bits_per_second"] <= ours["bits_per_second"]
    assert opus["metrics"]["si_sdr"] > ours["metrics"]["si_sdr"]
    written = sorted(path.relative_to(tmp_path / "audio").as_posix()
                     for path in (tmp_path / "audio").rglob("*.wav"))  # fmt: skip
    names = ("a.wav", "c.wav", "deep/b.flac.wav")
    assert written == [
        f"{system}/{name}" for system in ("opus-6k", "original", "tiny") for name in names
    ]
    assert soundfile.info(tmp_path / "audio/tiny/a.wav").frames == 4000


def test_the_plot_is_drawn(intaglio, data, bundle, tmp_path):
    pytest.importorskip("matplotlib", reason="pip install 'intaglio[demo]'")
    pytest.importorskip("pystoi", reason="pip install 'intaglio[metrics]'")
    words = ("--metrics", "stoi", "--baselines", "none", "--plot", tmp_path / "p.png")
    assert intaglio("eval", "audio", "--codec", bundle, "--data", data, *words).status == 0
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture(scope="session")
def stereo(tmp_path_factory):
    """A bundle of a codec at another rate, of two channels and two levels of 800 and 1200 bit/s."""
    torch.manual_seed(5)
    codec = AudioCodec(
        SEANetEncoder(8, (4, 5, 2), width=4, lstm_layers=0, channels=2),
        ResidualQuantizer([FSQ(8, (4,)), FSQ(8, (8,))]),
        SEANetDecoder(8, (4, 5, 2), width=4, lstm_layers=0, channels=2),
        sample_rate=16_000,
        channels=2,
        name="wide",
    )
    return save(codec, tmp_path_factory.mktemp("codec") / "wide")


def test_the_suite_has_a_row_for_every_codec_rate_and_data_set(
    intaglio, data, record, bundle, stereo, tmp_path
):
    record(tmp_path / "more" / "d.wav", 22_050, 22_050, 2)
    status, out, err = intaglio(
        "eval", "audio", *SUITE, "--codec", bundle, "--codec", f"{stereo}@800,2500", *QUICK,
        "--data", data, "--data", tmp_path / "more",
        "--json", tmp_path / "s.json", "--save-audio", tmp_path / "audio",
    )  # fmt: skip
    assert status == 0, err
    assert "3 recordings, 2 s" in out and "1 recording, 1 s" in out and "…" not in out
    assert [line.split()[2] for line in out.splitlines() if line[2:6] == "wide"] == [
        "data", "data", "more", "more"
    ]  # fmt: skip
    assert "over that of tiny, which on this machine took" in out
    rows = json.loads((tmp_path / "s.json").read_text())
    systems = ["original", "tiny", "wide@800", "wide@2000"]
    assert [(row["name"], row["system"]) for row in rows] == [
        (str(one), system) for one in (data, tmp_path / "more") for system in systems
    ]
    assert [row.get("codec", {}).get("levels") for row in rows[:4]] == [None, 1, 1, 2]
    low, high = rows[6:]
    assert low["bits_per_second"] == pytest.approx(800)  # 400 whole positions in one second
    assert high["tokens"]["nominal_bits_per_second"] == pytest.approx(2000)
    assert low["codec"]["fingerprint"] == load(stereo).fingerprint
    assert low["codec"]["parameters"] == sum(one.numel() for one in load(stereo).parameters())
    assert len(low["tokens"]["perplexity"]) == 1 and len(high["tokens"]["perplexity"]) == 2
    assert rows[1]["codec"]["relative_time"] == rows[5]["codec"]["relative_time"] == 1
    assert {row["compared_at"] for row in rows} == {16_000}
    (saved,) = (tmp_path / "audio").glob("*-more/wide@2000/d.wav")
    assert soundfile.info(saved).frames == soundfile.info(saved).samplerate == 22_050


def test_the_suite_probes_tokens_of_every_row(intaglio, record, stereo, tmp_path):
    records = []
    for n in range(12):
        record(tmp_path / "said" / f"{n}.wav", 2000, 16_000)
        records.append(Record(f"{n}.wav", text=f"word {n}", speaker="ab"[n % 2]))
    write_manifest(tmp_path / "said" / "manifest.jsonl", records)
    status, out, err = intaglio(
        "eval", "audio", *SUITE, "--codec", f"{stereo}@L1,L2", "--data", tmp_path / "said",
        "--metrics", "mel", "--baselines", "opus-6k", "--json", tmp_path / "s.json",
        "--probes", "speaker,words,lm", "--lm-steps", "1",
    )  # fmt: skip
    assert status == 0, err
    rows = {row["system"]: row for row in json.loads((tmp_path / "s.json").read_text())}
    assert list(rows) == ["original", "wide@800", "wide@2000", "opus-6k", "chance", "majority"]
    probes = {"speaker", "words", "lm", "lm_bigram", "lm_unigram", "lm_perplexity"}
    measured = {name: row["metrics"].keys() & probes for name, row in rows.items()}
    assert measured["original"] == measured["chance"] == {"speaker", "words"}
    assert measured["wide@800"] == measured["wide@2000"] == probes
    assert (measured["opus-6k"], measured["majority"]) == (set(), {"speaker"})
    assert rows["chance"]["metrics"]["speaker"] == 50
    for name in probes:
        low, high = rows["wide@800"]["intervals"][name]
        assert low <= rows["wide@800"]["metrics"][name] <= high
    assert rows["wide@800"]["language_model"]["steps"] == 1
    assert rows["wide@2000"]["probing"] == {"folds": 5, "features": 2 * 8 + 256}
    for name, ids in (("wide@800", 400), ("wide@2000", 800)):
        found = rows[name]["metrics"]
        assert found["lm"] == pytest.approx(ids * math.log(found["lm_perplexity"]))
    assert "speaker" in out and "chance" in out and "majority" in out


def test_the_suite_says_what_it_leaves_out(intaglio, data, bundle):
    words = ("--metrics", "mel,wer", "--baselines", "none")
    status, out, err = intaglio("eval", "audio", *SUITE, "--codec", bundle, "--data", data, *words)
    assert status == 0, err
    header = next(line for line in out.splitlines() if "system" in line)
    assert "bit/s" in header and "WER" not in out.replace("left out: WER (", "")
    assert "left out: WER (" in out
    assert "speaker (a probe takes two speakers of 5 recordings in a manifest, got 0)" in out


def test_rates_that_a_codec_does_not_have(refusal, data, stereo):
    words = ("eval", "audio", *SUITE, "--data", data, *QUICK, "--codec")
    assert "wide takes 800 bits a second at least, more than 700" in refusal(
        *words, f"{stereo}@700"
    )
    assert "wide@800 would be two rows" in refusal(*words, f"{stereo}@800,1900")


def test_damaged_recordings_are_named_and_make_it_fail(intaglio, data, bundle):
    (data / "bad.wav").write_bytes(b"RIFF and no more")
    status, out, err = intaglio("eval", "audio", "--codec", bundle, "--data", data, *QUICK)
    assert status == 1 and "3 recordings" in out
    assert "intaglio: skipped: " in err and "bad.wav" in err
    assert "1 of 4 recordings could not be read" in err.splitlines()[-1]


def test_a_manifest_cannot_write_outside_the_folder(intaglio, record, bundle, tmp_path):
    record(tmp_path / "x.wav", 3000)
    (tmp_path / "m").mkdir()
    write_manifest(tmp_path / "m" / "manifest.jsonl", [Record("../x.wav")])
    audio = tmp_path / "out" / "audio"
    words = ("--data", tmp_path / "m", "--save-audio", audio, *QUICK)
    assert intaglio("eval", "audio", "--codec", bundle, *words).status == 0
    assert sorted(path.name for path in tmp_path.rglob("*.wav")) == [
        "00000-x.wav", "00000-x.wav", "x.wav",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--metrics", "stoi,snr"), "unknown metric snr"),
        (("--baselines", "mp3"), "unknown baseline 'mp3'"),
        (("--baselines", "opus-1k"), "Opus takes "),
        (("--limit", "0"), "--limit: it is a whole number from 1"),
        ((*SUITE, "--rate", "0"), "--rate: it is a whole number from 1"),
        (("--rate", "999"), "1000 Hz at least, not at 999"),
        (("--probes", "lm"), "--probes are a part of --suite audio-tokens"),
        ((*SUITE, "--probes", "smell"), "unknown probe smell; there are speaker, words, lm, none"),
        (("--codec", "nowhere"), "compared with --suite audio-tokens"),
        ((*SUITE, "--codec", "nowhere@"), "'nowhere@' is no codec with bit"),
    ],
)
def test_wrong_options_are_wrong_usage(refusal, data, bundle, words, reason):
    words = ("eval", "audio", "--codec", bundle, "--data", data, *words)
    assert reason in refusal(*words, status=2)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--json", "no/such/folder/e.json"), "there is no folder"),
        (("--data", "nowhere"), "nowhere is not a folder, a manifest or the name"),
        (("--data", "other"), "other is not a folder, a manifest or the name of a data set"),
        ((*SUITE, "--codec", "nowhere"), "no codec at nowhere"),
        ((*SUITE, "--codec", "nowhere@2000"), "no codec at nowhere:"),
    ],
)
def test_what_cannot_work_is_refused(refusal, data, bundle, words, reason):
    assert reason in refusal("eval", "audio", "--codec", bundle, "--data", data, *words)
