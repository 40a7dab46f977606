"""``intaglio decode``: the length and the rate come back, and every way to fail."""

import zlib

import pytest
import soundfile
import torch

from intaglio.codecs import load
from intaglio.data.formats import wave
from intaglio.data.formats.tokens import read_tokens, write_tokens


@pytest.fixture
def tokens(intaglio, record, bundle, tmp_path):
    """A token file of 4,001 samples."""
    path = tmp_path / "a.intaglio"
    source = record(tmp_path / "source.wav")
    assert intaglio("encode", source, "-o", path, "--codec", bundle).status == 0
    return path


def rewritten(path, **changes):
    """Change the header of a token file, with correct checksums."""
    with path.open("rb") as file:
        header, ids = read_tokens(file)
    if "positions" in changes:
        ids = ids[: changes["positions"]]
    with path.open("wb") as file:
        write_tokens(file, header._replace(**changes), ids)
    return path


def test_the_output_equals_the_codecs(intaglio, tokens, bundle, tmp_path):
    status, out, err = intaglio("decode", tokens, "-o", tmp_path / "b.wav", "--codec", bundle)
    assert (status, out, err) == (0, "", "")
    codec = load(bundle)
    with tokens.open("rb") as file:
        _, ids = read_tokens(file)
    mask = torch.ones(1, len(ids), dtype=torch.bool)
    back = codec.decode(codec.encode(torch.zeros(1, 1, 4001))._replace(ids=ids[None], mask=mask))
    decoded, rate = soundfile.read(tmp_path / "b.wav", dtype="int16")
    pcm = (back[0, 0] * 32768).round().clamp(-32768, 32767)
    assert rate == 8000 and decoded.std() > 10
    assert torch.equal(torch.from_numpy(decoded), pcm.short())


@pytest.mark.parametrize(
    ("rate", "samples"), [(8000, 1), (8000, 101), (11025, 2003), (16000, 1999), (44100, 2000)]
)
def test_rate_and_length_come_back(intaglio, record, bundle, tmp_path, rate, samples):
    source = record(tmp_path / "a.wav", samples, rate)
    assert intaglio("encode", source, "-o", tmp_path / "t", "--codec", bundle).status == 0
    assert (
        intaglio("decode", tmp_path / "t", "-o", tmp_path / "b.flac", "--codec", bundle).status == 0
    )
    info = soundfile.info(tmp_path / "b.flac")
    assert (info.samplerate, info.frames, info.channels) == (rate, samples, 1)
    words = ["decode", tmp_path / "t", "-o", tmp_path / "c.wav", "--codec", bundle, "--codec-rate"]
    assert intaglio(*words).status == 0
    info = soundfile.info(tmp_path / "c.wav")
    assert (info.samplerate, info.frames) == (8000, -(-samples * 8000 // rate))


def test_resampling_back_keeps_the_signal_in_place(intaglio, record, bundle, tmp_path):
    """At another rate the file is the codec's output resampled, neither shifted nor stretched."""
    source = record(tmp_path / "a.wav", 4411, 11025)
    intaglio("encode", source, "-o", tmp_path / "t", "--codec", bundle)
    intaglio("decode", tmp_path / "t", "-o", tmp_path / "b.wav", "--codec", bundle)
    intaglio("decode", tmp_path / "t", "-o", tmp_path / "c.wav", "--codec", bundle, "--codec-rate")
    fine = torch.from_numpy(soundfile.read(tmp_path / "b.wav", dtype="float32")[0])
    coarse = torch.from_numpy(soundfile.read(tmp_path / "c.wav", dtype="float32")[0])
    spectrum = torch.fft.rfft(fine[:4410])[:400] / 4410
    expected = torch.fft.rfft(coarse[:3200])[:400] / 3200
    assert (spectrum - expected).norm() < 0.1 * expected.norm()


def test_a_folder_is_mirrored_and_damaged_files_are_named(intaglio, tokens, bundle, tmp_path):
    folder = tmp_path / "in" / "deep"
    folder.mkdir(parents=True)
    (folder / "a.intaglio").write_bytes(tokens.read_bytes())
    (folder / "b.intaglio").write_bytes(tokens.read_bytes()[:-9])
    status, _, err = intaglio("decode", tmp_path / "in", "-o", tmp_path / "out", "--codec", bundle)
    assert status == 1 and "deep/b.intaglio: truncated" in err
    assert [path.name for path in (tmp_path / "out" / "deep").iterdir()] == ["a.wav"]


def test_another_codec_is_refused_and_both_are_named(
    refusal, tokens, bundle, other_bundle, tmp_path
):
    line = refusal("decode", tokens, "-o", tmp_path / "b.wav", "--codec", other_bundle)
    for codec in (load(bundle), load(other_bundle)):
        assert f"{codec.name} ({codec.fingerprint})" in line
    assert "--codec" in line and not (tmp_path / "b.wav").exists()


def damaged(path):
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)


def newer(path):
    data = path.read_bytes()
    body = bytes([*data[:8], 4, *data[9:]])
    size = int.from_bytes(body[9:13], "little")
    checksum = zlib.crc32(body[: 13 + size]).to_bytes(4, "little")
    path.write_bytes(body[: 13 + size] + checksum + body[17 + size :])


def stereo(path):
    source = {"sample_rate": 8000, "length": 4001, "channels": 2, "stereo": "folded"}
    rewritten(path, extras={"source": source})  # but groups of one stream


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.write_bytes(b""), "truncated: it is empty"),
        (lambda path: path.write_bytes(b"RIFFWAVE" * 9), "not a token file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "truncated"),
        (damaged, "damaged in chunk 1 of 1"),
        (newer, "version 4, this intaglio reads up to 3: upgrade intaglio"),
        (lambda path: rewritten(path, vocab=(64,)), "contradicts its codec"),
        (lambda path: rewritten(path, hop_length=30), "contradicts its codec"),
        (lambda path: rewritten(path, length=4020 - 20), "contradicts its codec"),
        (lambda path: rewritten(path, positions=0, length=0), "contradicts its codec"),
        (lambda path: rewritten(path, extras={"source": 3}), "does not say"),
        (lambda path: rewritten(path, scale=(1.0,)), "contradicts its codec"),
        (stereo, "contradicts its codec"),
    ],
)
def test_a_bad_token_file_is_one_line_and_leaves_nothing(
    refusal, tokens, bundle, tmp_path, spoil, reason
):
    spoil(tokens)
    line = refusal("decode", tokens, "-o", tmp_path / "new" / "b.wav", "--codec", bundle)
    assert reason in line and str(tokens) in line
    assert not (tmp_path / "new").exists()


def test_an_ending_that_cannot_be_written_is_one_line(refusal, tokens, bundle, tmp_path):
    assert ".flac" in refusal("decode", tokens, "-o", tmp_path / "b.mp3", "--codec", bundle)


def test_a_fault_of_the_writer_leaves_nothing(refusal, tokens, bundle, tmp_path, monkeypatch):
    def broken(path, wave):
        raise soundfile.LibsndfileError(2)

    monkeypatch.setattr(wave, "_pcm", broken)
    target = tmp_path / "new" / "b.wav"
    assert "cannot be written" in refusal("decode", tokens, "-o", target, "--codec", bundle)
    assert not target.parent.exists()


def test_the_codecs_rate_keeps_everything_else(intaglio, record, bundle, tmp_path):
    source = record(tmp_path / "a.wav", 4411, 11025, channels=2)
    intaglio("encode", source, "-o", tmp_path / "t", "--codec", bundle, "--stereo", "folded")
    words = ["decode", tmp_path / "t", "-o", tmp_path / "b.wav", "--codec", bundle, "--codec-rate"]
    assert intaglio(*words).status == 0
    info = soundfile.info(tmp_path / "b.wav")
    assert (info.samplerate, info.frames, info.channels) == (8000, 3201, 2)
