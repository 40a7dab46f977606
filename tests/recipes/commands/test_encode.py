"""``intaglio encode``: equal to the API, folders, and every way to fail."""

import errno
import json

import pytest
import soundfile
import torch

from intaglio.codecs import load
from intaglio.data.formats.tokens import read_header, read_tokens
from intaglio.data.formats.wave import read_wave, resample
from intaglio.recipes.tokenization import encode_audio


def test_tokens_equal_those_of_the_codec(intaglio, record, bundle, tmp_path):
    source = record(tmp_path / "a.wav", 4001)
    status, out, err = intaglio("encode", source, "-o", tmp_path / "a.intaglio", "--codec", bundle)
    assert (status, out, err) == (0, "", "")
    codec = load(bundle)
    with (tmp_path / "a.intaglio").open("rb") as file:
        header, ids = read_tokens(file)
    expected = codec.encode(read_wave(source)[0].unsqueeze(0)).ids[0]
    assert torch.equal(ids, expected) and ids.unique().numel() > 5
    assert header.codec == "tiny" and header.fingerprint == codec.fingerprint
    assert (header.positions, header.vocab) == (201, (63,))
    assert (header.sample_rate, header.hop_length, header.channels) == (8000, 20, 1)
    assert header.length == 4001
    assert header.extras == {"source": {"sample_rate": 8000, "length": 4001}}


def test_other_rates_are_resampled_and_remembered(intaglio, record, bundle, tmp_path):
    source = record(tmp_path / "a.flac", 4411, rate=11025, channels=2)
    assert intaglio("encode", source, "-o", tmp_path / "t", "--codec", bundle).status == 0
    with (tmp_path / "t").open("rb") as file:
        header, ids = read_tokens(file)
    wave = resample(read_wave(source, channels=1)[0], 11025, 8000)
    assert header.length == wave.shape[-1] == 3201
    assert torch.equal(ids, load(bundle).encode(wave.unsqueeze(0)).ids[0])
    assert header.extras == {"source": {"sample_rate": 11025, "length": 4411, "channels": 2}}


def test_a_folder_is_mirrored_and_damaged_files_are_named(intaglio, record, bundle, tmp_path):
    record(tmp_path / "in" / "a.wav")
    record(tmp_path / "in" / "deep" / "b.flac")
    (tmp_path / "in" / "bad.wav").write_bytes(b"RIFF, but no more")
    (tmp_path / "in" / "empty.wav").touch()
    out = tmp_path / "out"
    status, _, err = intaglio("encode", tmp_path / "in", "-o", out, "--codec", bundle)
    assert status == 1
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()) == [
        "a.intaglio",
        "deep/b.intaglio",
    ]
    lines = err.splitlines()[-3:]
    assert lines[0].startswith("intaglio: skipped: ") and "in/bad.wav" in lines[0]
    assert lines[1].startswith("intaglio: skipped: ") and "in/empty.wav is an empty" in lines[1]
    assert lines[2].startswith("intaglio: error: 2 of 4 files could not be encoded")
    assert "4/4" in err  # the progress bar


def test_existing_files_are_kept_unless_asked(intaglio, refusal, record, bundle, tmp_path):
    source, out = record(tmp_path / "a.wav"), tmp_path / "a.intaglio"
    out.write_bytes(b"precious")
    assert "--overwrite" in refusal("encode", source, "-o", out, "--codec", bundle)
    assert out.read_bytes() == b"precious"
    assert intaglio("encode", source, "-o", out, "--codec", bundle, "--overwrite").status == 0
    assert out.read_bytes() != b"precious"


def truncated(path):
    path.write_bytes(path.read_bytes()[:-1000])


def silent(path):
    soundfile.write(path, torch.zeros(0).numpy(), 8000)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(b"hello world " * 99), "not audio"),
        (truncated, "truncated"),
        (silent, "no samples"),
    ],
    ids=["missing", "empty", "no audio", "truncated", "silent"],
)
def test_bad_audio_is_one_line_and_leaves_nothing(refusal, record, bundle, tmp_path, spoil, reason):
    source = record(tmp_path / "a.wav")
    spoil(source)
    line = refusal("encode", source, "-o", tmp_path / "new" / "t", "--codec", bundle)
    assert reason in line and str(source) in line
    assert not (tmp_path / "new").exists()


def test_a_full_disk_is_one_line_and_leaves_nothing(refusal, record, bundle, tmp_path, monkeypatch):
    def finish(self, header):
        self._file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(encode_audio.TokenWriter, "finish", finish)
    source = record(tmp_path / "a.wav")
    (tmp_path / "old").write_bytes(b"old")
    assert "the disk is full; free some space" in refusal(
        "encode", source, "-o", tmp_path / "old", "--codec", bundle, "--overwrite"
    )
    assert (tmp_path / "old").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "old"]


def test_the_codec_is_found_by_option_variable_or_demo(
    intaglio, refusal, record, bundle, other_bundle, in_tmp_path, monkeypatch
):
    record(in_tmp_path / "a.wav")

    def name(*words):
        assert intaglio("encode", "a.wav", "-o", "t", "--overwrite", *words).status == 0
        with open("t", "rb") as file:
            return read_header(file).codec

    line = refusal("encode", "a.wav", "-o", "t", status=2)
    assert "--codec" in line and "INTAGLIO_CODEC" in line and "intaglio demo" in line
    (in_tmp_path / "demo").mkdir()
    (in_tmp_path / "demo" / "codec").symlink_to(other_bundle)
    assert name() == "other"
    monkeypatch.setenv("INTAGLIO_CODEC", str(bundle))
    assert name() == "tiny"
    assert name("--codec", other_bundle) == "other"


def copied(bundle, folder, **changes):
    """A copy of a bundle with another configuration or weights."""
    folder.mkdir()
    weights = bytearray((bundle / "model.safetensors").read_bytes())
    if changes.pop("flip", False):
        weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    config = json.loads((bundle / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"flip": True}, "is damaged: its SHA-256"),
        ({"format_version": 99}, "upgrade intaglio"),
        ({"fingerprint": "0" * 32}, "fingerprint differs"),
        (
            {"recipe": {"class_path": "os.system", "init_args": {"command": "true"}}},
            "refused to build",
        ),
    ],
    ids=["hash", "newer", "fingerprint", "foreign"],
)
@pytest.mark.parametrize("command", ["encode", "info"])
def test_a_bad_bundle_is_one_line(refusal, record, bundle, tmp_path, changes, reason, command):
    bad = copied(bundle, tmp_path / "bad", **changes)
    source = record(tmp_path / "a.wav")
    words = ["encode", source, "-o", tmp_path / "t", "--codec", bad]
    assert reason in refusal(*(words if command == "encode" else ["info", bad]))
    assert not (tmp_path / "t").exists()


def test_a_missing_codec_or_device_is_one_line(refusal, record, bundle, tmp_path):
    words = ["encode", record(tmp_path / "a.wav"), "-o", tmp_path / "t", "--codec"]
    assert "there is no codec at" in refusal(*words, tmp_path / "gone")
    assert "no bundle" in refusal(*words, tmp_path)
    (tmp_path / "x.ckpt").write_bytes(b"no checkpoint")
    assert "no readable training checkpoint" in refusal(*words, tmp_path / "x.ckpt")
    assert "no device 'toaster'" in refusal(*words, bundle, "--device", "toaster", status=2)
    assert "no device 'meta'" in refusal(*words, bundle, "--device", "meta", status=2)
    assert "no device 'cpu:7'" in refusal(*words, bundle, "--device", "cpu:7", status=2)
    assert "no device 'cuda:99'" in refusal(*words, bundle, "--device", "cuda:99", status=2)
