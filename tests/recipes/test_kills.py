"""Commands that replace files which belong together, each killed at twenty moments."""

import json
import multiprocessing
import os
import random
import signal
import time
import zipfile

import pytest
import torch

from intaglio.codecs import load, save

pytestmark = pytest.mark.slow
KILLS = 20


def kill_often(start, wait, state, wanted):
    """Let two writers take turns, kill them at random moments, and look at what is there.

    Args:
        start: starts the first or the second one, gives its process.
        wait: for a process.
        state: of what they write.
        wanted: states that each leaves when it comes to its end.
    """
    moments, killed = random.Random(0), 0
    begin = time.monotonic()
    wait(start(0))
    seconds = time.monotonic() - begin
    for number in range(KILLS):
        process = start(1 - number % 2)
        time.sleep(moments.uniform(0, seconds))
        os.kill(process, signal.SIGKILL)
        killed += wait(process) == -signal.SIGKILL
        assert state() in wanted
    assert killed >= 5
    assert wait(start(0)) == 0
    assert state() == wanted[0]


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def graphs(folder):
    """The fingerprint in the card, and checksums of the weights in each file."""
    found = {"card": json.loads((folder / "export.json").read_text())["fingerprint"]}
    for path in folder.glob("*.ts"):
        with zipfile.ZipFile(path) as archive:
            found[path.name] = [one.CRC for one in archive.infolist() if ".py" not in one.filename]
    return found


def commands(launcher, folder, words):
    """How to start and to wait for two command lines that write to the given folders."""
    return (lambda which: launcher.start(folder, *words[which])), launcher.wait


def test_export(launcher, bundle, other_bundle, tmp_path):
    options = ["--overwrite", "--format", "torchscript", "-o"]
    words = [["export", part, *options] for part in (bundle, other_bundle)]
    for which, name in enumerate("ab"):
        assert launcher.run(tmp_path, *words[which], tmp_path / name) == 0
    wanted = [graphs(tmp_path / name) for name in "ab"]
    assert wanted[0] != wanted[1]
    out = tmp_path / "sub" / "out"
    start, wait = commands(launcher, tmp_path, [[*one, out] for one in words])
    kill_often(start, wait, lambda: graphs(out), wanted)
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_sampling_over_another_request(launcher, generator_bundle, image_bundle, tmp_path):
    words = ["sample", generator_bundle, "--codec", image_bundle, "--overwrite", "-o"]
    requests = [["--class", "cat", "--count", 6], ["--class", "dog", "--count", 4]]
    for which, name in enumerate("ab"):
        assert launcher.run(tmp_path, *words, tmp_path / name, *requests[which]) == 0
    out = tmp_path / "sub" / "out"
    start, wait = commands(launcher, tmp_path, [[*words, out, *one] for one in requests])
    kill_often(start, wait, lambda: files(out), [files(tmp_path / name) for name in "ab"])
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_an_interrupted_request_goes_on(launcher, generator_bundle, image_bundle, tmp_path):
    words = ["sample", generator_bundle, "--codec", image_bundle, "--class", "cat", "--count", 40]
    begin = time.monotonic()
    assert launcher.run(tmp_path, *words, "-o", tmp_path / "whole") == 0
    seconds, whole = time.monotonic() - begin, files(tmp_path / "whole")
    out, moments = tmp_path / "out", random.Random(0)
    for _ in range(KILLS):
        process = launcher.start(tmp_path, *words, "-o", out)
        time.sleep(moments.uniform(0, seconds))
        os.kill(process, signal.SIGKILL)
        launcher.wait(process)
        for name, content in files(out).items():
            assert name.startswith(".") or content == whole[name]
    assert launcher.run(tmp_path, *words, "-o", out) == 0
    assert files(out) == whole


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forks
def test_a_bundle(bundle, tmp_path):
    codecs = [load(bundle, trainable=True) for _ in range(2)]
    with torch.no_grad():
        next(codecs[1].parameters()).add_(1)
    for codec, name in zip(codecs, "ab", strict=True):
        save(codec, tmp_path / name)
    out, running = tmp_path / "sub" / "out", {}

    def save_in_a_fork(codec):
        torch.set_num_threads(1)  # threads of the parent are not there
        save(codec, out)

    def start(which):
        process = multiprocessing.get_context("fork").Process(
            target=save_in_a_fork, args=(codecs[which],)
        )
        process.start()
        running[process.pid] = process
        return process.pid

    def wait(number):
        running[number].join()
        return running[number].exitcode

    kill_often(start, wait, lambda: files(out), [files(tmp_path / name) for name in "ab"])
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert json.loads((out / "config.json").read_text())["fingerprint"] == codecs[0].fingerprint
