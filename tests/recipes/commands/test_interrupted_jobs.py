"""Jobs over files that end early clean up, and go on with ``--resume`` as they say themselves."""

import os
import signal
import time

import pytest


@pytest.fixture
def folder(record, tmp_path):
    """Recordings of which the second takes long."""
    record(tmp_path / "in" / "a.wav")
    record(tmp_path / "in" / "b.wav", 8000 * 600)
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminated_job_leaves_whole_files_and_goes_on(
    launcher, intaglio, record, bundle, folder, number
):
    out = folder / "out"
    words = ["encode", folder / "in", "-o", out, "--codec", bundle]
    process = launcher.start(folder, *words)
    end = time.monotonic() + 60
    while not (out / ".b.intaglio.intaglio-part").exists() and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(process, number)
    assert launcher.wait(process) == 128 + number
    assert names(out) == ["a.intaglio"]
    advice = "to do the rest, give the same command with --resume"
    assert f"encoded 1 of 2 files; {advice}" in launcher.output.read_text()
    record(folder / "in" / "b.wav")
    before = (out / "a.intaglio").stat().st_ino
    assert intaglio(*words).status == 1
    status, _, err = intaglio(*words, "--resume")
    assert status == 0 and "kept 1 file of 2, made before" in err
    assert names(out) == ["a.intaglio", "b.intaglio"]
    assert (out / "a.intaglio").stat().st_ino == before
    back = ["decode", out, "-o", folder / "back", "--codec", bundle]
    assert intaglio(*back).status == 0
    (folder / "back" / "b.wav").unlink()
    assert intaglio(*back, "--resume").status == 0
    assert names(folder / "back") == ["a.wav", "b.wav"]


def test_files_of_another_codec_and_damaged_ones_are_not_kept(
    intaglio, refusal, record, bundle, other_bundle, tmp_path
):
    for name in "ab":
        record(tmp_path / "in" / f"{name}.wav")
    out = tmp_path / "out"
    words = ["encode", tmp_path / "in", "-o", out, "--resume", "--codec"]
    assert intaglio(*words, bundle).status == 0
    assert f"{out / 'a.intaglio'}: made with the codec tiny" in refusal(*words, other_bundle)
    (out / "b.intaglio").write_bytes((out / "b.intaglio").read_bytes()[:-1])
    assert f"{out / 'b.intaglio'}: truncated" in refusal(*words, bundle)
    assert intaglio(*words, bundle, "--overwrite").status == 2
