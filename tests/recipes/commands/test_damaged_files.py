"""Damage of any kind, in folders and data sets: named, counted, isolated; and what is no file."""

import io
import os
import socket
import sys

import pytest
import soundfile
import torch

from intaglio.data.formats.shards import read_row
from intaglio.recipes.tokenization.batch_audio import AudioTokenizer

ODD = "odd\x1b[31m.wav"  # colours a terminal


@pytest.fixture
def folder(record, tmp_path):
    """Seven recordings: one of which no byte is UTF-8, and one with samples beyond all codes."""
    for name in ("a.wav", "b.wav", "c.wav", ODD):
        record(tmp_path / "in" / name)
    record(tmp_path / "in" / os.fsdecode(b"caf\xe9.wav"))
    huge = 1e20 * torch.randn(4000)
    soundfile.write(tmp_path / "in" / "huge.wav", huge.numpy(), 8000, subtype="FLOAT")
    return tmp_path / "in"


@pytest.fixture
def broken(monkeypatch):
    """The files that are read raise what no reader should."""
    from intaglio.data.formats import wave

    probe, opened = wave.probe, wave.opened

    def fail(path, limits):
        if path.name in ("b.wav", ODD):
            raise AttributeError("'NoneType' object has no attribute 'bits'")
        return opened(path, limits)

    monkeypatch.setattr(wave, "opened", fail)
    return probe


def test_a_folder_goes_on_after_a_failure_of_any_class(intaglio, folder, broken, bundle, tmp_path):
    out = tmp_path / "out"
    status, _, err = intaglio("encode", folder, "-o", out, "--codec", bundle)
    assert status == 1
    assert {"a.intaglio", "c.intaglio"} < {path.name for path in out.iterdir()}
    skipped = [line for line in err.splitlines() if line.startswith("intaglio: skipped: ")]
    reasons = {
        name: [line for line in skipped if f"/in/{name}" in line] for name in ("b.wav", "odd")
    }
    assert all(
        len(lines) == 1 and "AttributeError: 'NoneType'" in lines[0] for lines in reasons.values()
    )
    assert r"odd\x1b[31m.wav" in reasons["odd"][0] and "\x1b" not in err.replace("\x1b[A", "")
    failed = len(list(folder.iterdir())) - len(list(out.iterdir()))
    assert len(skipped) == failed
    assert err.endswith(f"{failed} of 6 files could not be encoded; see above\n")
    assert "Traceback" not in err


def test_a_single_file_with_a_failure_of_any_class_is_one_line(refusal, folder, broken, bundle):
    line = refusal("encode", folder / "b.wav", "-o", folder / "t", "--codec", bundle)
    assert line.startswith(f"{folder / 'b.wav'}: AttributeError: 'NoneType' object")


def test_a_folder_is_given_up_above_the_share(intaglio, refusal, folder, broken, bundle, tmp_path):
    words = ("encode", folder, "-o", tmp_path / "out", "--codec", bundle, "--max-bad-share")
    status, _, err = intaglio(*words, 0)
    assert status == 1 and "intaglio: error: stopped after 2 of 6 files: 1 could not be" in err
    assert len(list((tmp_path / "out").iterdir())) == 1
    assert "in [0, 1], not '2.0'" in refusal(*words, 2.0, status=2)


def test_a_data_set_goes_on_after_a_failure_of_any_class(
    intaglio, folder, broken, bundle, tmp_path
):
    words = ("tokenize", folder, "-o", tmp_path / "out", "--codec", bundle)
    status, out, err = intaglio(*words)
    row = read_row(tmp_path / "out" / "000000.tar")
    reasons = {one["name"]: one["reason"] for one in row.about["damaged"]}
    assert status == 1 and "of 6 recordings cannot be read" in err and err.count("\n") == 1
    assert row.samples + len(reasons) == 6 and {"b.wav", ODD} <= set(reasons)
    assert reasons["b.wav"] == ("b.wav: AttributeError: 'NoneType' object has no attribute 'bits'")
    assert r"odd\x1b[31m.wav: AttributeError" in reasons[ODD] and "\x1b" not in err
    assert intaglio(*words, "--max-bad-share", 1).status == 0


def test_no_shard_is_begun_once_the_share_is_exceeded(intaglio, folder, broken, bundle, tmp_path):
    words = ("tokenize", folder, "-o", tmp_path / "out", "--codec", bundle, "--per-shard", 1)
    status, _, err = intaglio(*words)
    assert status == 1 and "error: stopped after 2 of 6 shards: 1 of 2 recordings" in err
    assert len(list((tmp_path / "out").glob("*.tar"))) == 2


def test_an_item_that_cannot_be_encoded_does_not_take_its_batch_along(
    intaglio, folder, bundle, tmp_path, monkeypatch
):
    made = AudioTokenizer._file

    def fail(self, tokens, wave):
        if wave.source_length == 777:
            raise IndexError("no such code")
        return made(self, tokens, wave)

    monkeypatch.setattr(AudioTokenizer, "_file", fail)
    soundfile.write(folder / "bb.wav", torch.randn(777).numpy(), 8000)
    out = tmp_path / "out"
    assert intaglio("tokenize", folder, "-o", out, "--codec", bundle).status == 1
    reasons = {one["name"]: one["reason"] for one in read_row(out / "000000.tar").about["damaged"]}
    assert reasons["bb.wav"] == "bb.wav: IndexError: no such code"
    assert not {"a.wav", "b.wav", "c.wav", ODD} & set(reasons)


def test_several_paths_of_info_are_independent(intaglio, folder, bundle, tmp_path):
    intaglio("encode", folder / "a.wav", "-o", tmp_path / "t", "--codec", bundle)
    status, out, err = intaglio("info", tmp_path / "t", folder / "b.wav", bundle)
    assert status == 1 and out.count("fingerprint") == 2
    assert f"intaglio: skipped: {folder / 'b.wav'}: not a token file" in err
    assert err.endswith("intaglio: error: 1 of 3 files could not be read; see above\n")


@pytest.fixture(params=["pipe", "socket", "device"])
def no_file(request, tmp_path):
    """Something that a reader would wait for, or never come to the end of."""
    if request.param == "device":
        return "/dev/zero"
    path = tmp_path / f"{request.param}.tar"
    if request.param == "pipe":
        os.mkfifo(path)
    else:
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        request.addfinalizer(server.close)
    return path


def test_what_is_no_file_is_refused_at_once_by_every_command(
    refusal, no_file, record, bundle, generator_bundle, image_bundle, tmp_path
):
    good, out = record(tmp_path / "a.wav"), ("-o", tmp_path / "out")
    drawing = ("sample", generator_bundle, "--codec", image_bundle, *out)
    for words in (
        ("encode", no_file, *out, "--codec", bundle),
        ("decode", no_file, "-o", tmp_path / "out.wav", "--codec", bundle),
        ("info", no_file),
        ("ids", no_file, "-o", tmp_path / "ids.npy"),
        ("tokenize", no_file, *out, "--codec", bundle),
        (*drawing, "--texts", no_file),
        (*drawing, "--inpaint", no_file, "--mask", no_file),
        ("encode", good, "-o", no_file, "--codec", bundle, "--overwrite"),
    ):
        line = refusal(*words)
        assert f"{no_file} is a device or a pipe, not a file" in line, words
        assert line.count(str(no_file)) == 1, line
    assert not (tmp_path / "out").exists()


class Endless(io.RawIOBase):
    """Standard input that never ends, of which little may be taken."""

    taken = 0

    def readable(self):
        return True

    def readinto(self, buffer):
        self.taken += len(buffer)
        assert self.taken < 1 << 26
        return len(buffer)


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_standard_input_is_kept_up_to_a_limit(refusal, bundle, tmp_path, monkeypatch, command):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Endless())))
    words = (command, "-", "-o", tmp_path / "t.wav", "--codec", bundle, "--max-stdin")
    line = refusal(*words, 0.01)
    assert line.startswith("standard input is longer than 0.01 GiB, the limit; raise it with --max")
    assert list(tmp_path.iterdir()) == []
    for wrong in (0, -1, "nan", "inf"):
        assert "--max-stdin: it is a number above 0" in refusal(*words, wrong, status=2)
