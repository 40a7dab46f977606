"""``intaglio eval``: what it prints and writes, which recordings it takes, and how it fails."""

import json

import pytest
import soundfile

from intaglio.data.manifest import Record, split_of, write_manifest
from intaglio.recipes.commands.eval import choose

QUICK = ("--metrics", "mel,si_sdr", "--baselines", "none")


@pytest.fixture
def data(record, tmp_path):
    for name in ("a.wav", "deep/b.flac", "c.wav"):
        record(tmp_path / "data" / name, 4000)
    return tmp_path / "data"


def test_table_records_and_audio(intaglio, data, bundle, tmp_path):
    status, out, err = intaglio(
        "eval", "--codec", bundle, "--data", data, "--metrics", "mel,si_sdr",
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
    assert intaglio("eval", "--codec", bundle, "--data", data, *words).status == 0
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_damaged_recordings_are_named_and_make_it_fail(intaglio, data, bundle):
    (data / "bad.wav").write_bytes(b"RIFF and no more")
    status, out, err = intaglio("eval", "--codec", bundle, "--data", data, *QUICK)
    assert status == 1 and "3 recordings" in out
    assert "intaglio: skipped: " in err and "bad.wav" in err
    assert "1 of 4 recordings could not be read" in err.splitlines()[-1]


def test_the_test_split_is_that_of_training():
    found = [Record(f"{n}.wav", text=f"sentence number {n}") for n in range(200)]
    chosen = choose(found, "test", shares=(0.1, 0.2), seed=3)
    assert 20 < len(chosen) < 60
    assert all(split_of(one.text, (0.1, 0.2), 3) == "test" for one in chosen)
    assert not set(chosen) & set(choose(found, "validation", shares=(0.1, 0.2), seed=3))
    assert choose(found, "all", shares=(0.1, 0.2)) == found


def test_a_limit_takes_recordings_from_everywhere():
    found = [Record(f"{n}.wav") for n in range(10)]
    assert choose(found, "all", shares=(0, 0), limit=3) == [found[0], found[3], found[6]]
    assert choose(found, "all", shares=(0, 0), limit=99) == found


def test_a_manifest_cannot_write_outside_the_folder(intaglio, record, bundle, tmp_path):
    record(tmp_path / "x.wav", 3000)
    (tmp_path / "m").mkdir()
    write_manifest(tmp_path / "m" / "manifest.jsonl", [Record("../x.wav")])
    audio = tmp_path / "out" / "audio"
    words = ("--data", tmp_path / "m", "--save-audio", audio, *QUICK)
    assert intaglio("eval", "--codec", bundle, *words).status == 0
    assert sorted(path.name for path in tmp_path.rglob("*.wav")) == [
        "00000-x.wav", "00000-x.wav", "x.wav",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--metrics", "stoi,snr"), "unknown metric snr"),
        (("--baselines", "mp3"), "unknown baseline 'mp3'"),
        (("--limit", "0"), "--limit must be at least 1"),
        (("--json", "no/such/folder/e.json"), "there is no folder"),
        (("--data", "nowhere"), "nowhere is no folder, manifest or name"),
        (("--codec", "nowhere"), "no codec at nowhere"),
    ],
)
def test_what_cannot_work_is_refused(refusal, data, bundle, words, reason):
    assert reason in refusal("eval", "--codec", bundle, "--data", data, *words)
