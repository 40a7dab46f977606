"""``intaglio tokenize``: what it writes, jobs, restarts, kills, every way to fail."""

import io
import json
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from intaglio.codecs import load
from intaglio.data.formats.shards import (
    ShardError,
    ShardWriter,
    check_list,
    check_shard,
    read_row,
    read_shard,
)
from intaglio.data.formats.tokens import read_tokens
from intaglio.data.formats.wave import read_wave
from intaglio.data.manifest import Record, write_manifest

COUNT = 11


@pytest.fixture
def folder(record, tmp_path):
    """Eleven recordings, some of them in a sub-folder, and two damaged files."""
    for number in range(COUNT):
        record(tmp_path / "in" / ("deep" * (number % 2)) / f"{number:02}.wav", 1000 + 777 * number)
    (tmp_path / "in" / "05b.wav").write_bytes(b"")
    (tmp_path / "in" / "deep" / "99.flac").write_bytes(b"no audio")
    return tmp_path / "in"


@pytest.fixture
def tokenize(intaglio, bundle):
    def call(source, out, *words):
        words = ("--codec", bundle, "--per-shard", 4, "--max-bad-share", 0.5, *words)
        return intaglio("tokenize", source, "-o", out, *words)

    return call


def content(folder):
    """Every file below a folder, hidden ones too."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def shard_of(path, samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = ShardWriter(file)
        for key, files in samples:
            writer.add(key, files)
        writer.close()
    return path


def test_shards_hold_the_tokens_of_every_recording(tokenize, folder, bundle, tmp_path):
    status, out, err = tokenize(folder, tmp_path / "out")
    assert (status, err) == (0, "")
    assert out.startswith(f"{COUNT} recordings in 4 shards, 2 damaged; all shards are listed in ")
    codec = load(bundle)
    found, damaged, lines = {}, {}, []
    for number in range(4):
        path = tmp_path / "out" / f"{number:06}.tar"
        row = read_row(path)
        check_shard(path, row)
        lines.append(row)
        samples = list(read_shard(path))
        assert row.samples == len(samples) == row.about["total"] - len(row.about["damaged"])
        assert row.about["fingerprint"] == codec.fingerprint and row.about["codec"] == "tiny"
        damaged |= {one["name"]: one["reason"] for one in row.about["damaged"]}
        for sample in samples:
            header, ids = read_tokens(io.BytesIO(sample.files["intaglio"]))
            path = json.loads(sample.files["json"])["path"]
            assert torch.equal(ids, codec.encode(read_wave(folder / path)[0].unsqueeze(0)).ids[0])
            assert header.fingerprint == codec.fingerprint
            found[sample.key] = path
    assert len(set(found.values())) == COUNT
    assert [*found] == sorted(found) and [*found.values()] == sorted(found.values())
    assert damaged["05b.wav"] == "05b.wav is an empty file"
    assert damaged["deep/99.flac"].startswith("deep/99.flac ") and len(damaged) == 2
    listed = (tmp_path / "out" / "shards.jsonl").read_text().splitlines()
    assert [json.loads(line)["sha256"] for line in listed] == [row.sha256 for row in lines]


def test_text_and_speaker_of_a_manifest_go_along(tokenize, record, tmp_path):
    record(tmp_path / "a.wav")
    said = Record("a.wav", text="hällo", speaker="me")
    write_manifest(tmp_path / "list.jsonl", [said])
    assert tokenize(tmp_path / "list.jsonl", tmp_path / "out").status == 0
    (sample,) = read_shard(tmp_path / "out" / "000000.tar")
    known = {"path": "a.wav", "text": "hällo", "speaker": "me"}
    assert json.loads(sample.files["json"]) == known


def test_jobs_together_give_what_one_job_gives(tokenize, folder, tmp_path):
    assert tokenize(folder, tmp_path / "one").status == 0
    for index in (2, 0, 1):
        assert not (tmp_path / "many" / "shards.jsonl").exists()
        words = ("--job-index", index, "--num-jobs", 3)
        assert tokenize(folder, tmp_path / "many", *words).status == 0
    assert content(tmp_path / "many") == content(tmp_path / "one")


def test_finished_shards_are_left_alone_and_others_made_again(tokenize, folder, tmp_path):
    out = tmp_path / "out"
    assert tokenize(folder, out).status == 0
    before = content(out)
    times = {path: path.stat().st_mtime_ns for path in out.glob("0*")}
    (out / "000001.json").unlink()
    (out / "000002.tar").write_bytes(b"cut short")
    (out / "000003.json").write_text("{")
    (out / ".000001.tar.abc.intaglio-part").write_bytes(b"left by a killed run")
    assert tokenize(folder, out).status == 0
    assert content(out) == before
    changed = {path.name for path, then in times.items() if path.stat().st_mtime_ns != then}
    assert changed >= {"000002.tar", "000003.json"}
    assert not changed & {"000000.tar", "000000.json"}
    assert tokenize(folder, out, "--overwrite").status == 0
    assert content(out) == before
    assert all(path.stat().st_mtime_ns != then for path, then in times.items())


def test_another_codec_or_other_data_need_overwrite(
    tokenize, refusal, folder, record, other_bundle, tmp_path
):
    out = tmp_path / "out"
    assert tokenize(folder, out).status == 0
    before = content(out)
    words = ("tokenize", folder, "-o", out, "--per-shard", 4, "--max-bad-share", 1)
    assert "made with another fingerprint" in refusal(*words, "--codec", other_bundle)
    codec = ("--codec", tmp_path / "codec")
    (tmp_path / "codec").symlink_to(other_bundle)
    assert "--overwrite" in refusal(*words, *codec)
    assert tokenize(folder, out, "--entropy").status == 1
    record(folder / "00a.wav")
    assert tokenize(folder, out).status == 1
    assert content(out) == before
    assert tokenize(folder, out, "--overwrite").status == 0
    assert content(out) != before


def test_shards_rows_and_their_list_are_written_through_links(tokenize, folder, tmp_path):
    out, disk = tmp_path / "out", tmp_path / "disk"
    assert tokenize(folder, out).status == 0
    before = content(out)
    disk.mkdir()
    for name in ("000001.tar", "000001.json", "shards.jsonl"):
        (out / name).rename(disk / name)
        (out / name).symlink_to(disk / name)
    assert tokenize(folder, out, "--overwrite", "--entropy").status == 0
    check_list(out)
    linked = sorted(path.name for path in out.iterdir() if path.is_symlink())
    assert linked == sorted(content(disk)) == ["000001.json", "000001.tar", "shards.jsonl"]
    assert (
        sorted(content(out)) == sorted(before)
        and content(out)["000001.json"] != before["000001.json"]
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("000001.tar", kind) for kind in ("a tar", "a text", "a link", "of another codec")),
        *(("000001.json", kind) for kind in ("a text", "a link")),
        *(("shards.jsonl", kind) for kind in ("a text", "a link")),
    ],
)
def test_files_of_others_are_not_replaced_unasked(
    tokenize, refusal, folder, bundle, other_bundle, tmp_path, name, kind
):
    out = tmp_path / "out"
    if kind == "of another codec":
        assert tokenize(folder, out, "--codec", other_bundle).status == 0
        for path in {*out.iterdir()} - {out / name}:
            path.unlink()
    else:
        shard_of(tmp_path / "theirs.tar", [("a", {"txt": b"mine"})])
        (tmp_path / "theirs.json").write_text('{"mine": 1}')
        theirs = tmp_path / ("theirs.tar" if kind == "a tar" else "theirs.json")
        out.mkdir()
        if kind == "a link":
            (out / name).symlink_to(theirs)
        else:
            (out / name).write_bytes(theirs.read_bytes())
    before = content(out)
    words = ("tokenize", folder, "-o", out, "--per-shard", 4, "--max-bad-share", 1)
    line = refusal(*words, "--codec", bundle)
    assert line.startswith(f"{out / name} ") and "add --overwrite or choose another output" in line
    assert content(out) == before
    assert tokenize(folder, out, "--overwrite").status == 0
    check_list(out)


def test_a_smaller_set_leaves_no_shard_of_a_larger_one(tokenize, folder, tmp_path):
    out, mine = tmp_path / "out", tmp_path / "out" / "mine.tar"
    assert tokenize(folder, out).status == 0
    shard_of(mine, [("a", {"txt": b"mine"})])
    for path in [*folder.glob("*")][1:]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = content(out)
    found = tokenize(folder, out)
    assert found.status == 1 and "is of other data (3 such shards); add --over" in found.err
    assert content(out) == before
    assert tokenize(folder, out, "--overwrite").status == 0
    names = ["000000.json", "000000.tar", "mine.tar", "shards.jsonl"]
    assert sorted(content(out)) == names
    assert len((out / "shards.jsonl").read_text().splitlines()) == 1


def test_jobs_that_overwrite_wait_for_each_other(tokenize, folder, tmp_path):
    out = tmp_path / "out"
    assert tokenize(folder, out).status == 0
    first = content(out)
    words = ("--overwrite", "--entropy", "--num-jobs", 2, "--job-index")
    assert tokenize(folder, out, *words, 0).status == 0
    assert content(out)["shards.jsonl"] == first["shards.jsonl"]
    with pytest.raises(ShardError, match="shards are of several sets; make them anew"):
        check_list(out)
    assert tokenize(folder, out, *words, 1).status == 0
    check_list(out)


def test_a_dry_run_lists_and_writes_nothing(tokenize, folder, tmp_path):
    out = tmp_path / "out"
    status, text, _ = tokenize(folder, out, "--dry-run", "--num-jobs", 2)
    lines = text.splitlines()
    assert status == 0 and not out.exists() and len(lines) == 4
    assert lines[1].endswith("000001.tar  job 1  4 recordings  to do")
    assert "job 0  1 recording " not in lines[2] and "job 1  1 recording " in lines[3]
    tokenize(folder, out, "--job-index", 1, "--num-jobs", 2)
    states = [line.split("  ")[-1] for line in tokenize(folder, out, "--dry-run").out.splitlines()]
    assert states == ["to do", "finished", "to do", "finished"]


def test_shards_of_audio_become_shards_of_tokens(tokenize, record, folder, bundle, tmp_path):
    good = (folder / "00.wav").read_bytes()
    shards = tmp_path / "shards"
    shard_of(
        shards / "b" / "1.tar",
        [
            ("x", {"wav": good, "txt": b"hello", "cls": b"7"}),
            ("y/z", {"flac": b"junk"}),
            ("none", {"txt": b"only text"}),
            ("two", {"wav": good, "flac": good}),
        ],
    )
    shard_of(shards / "a.tar", [("k" * 120, {"WAV".lower(): good})])
    status, out, _ = tokenize(shards, tmp_path / "out", "--max-bad-share", 0.7)
    assert status == 0 and out.startswith("2 recordings in 2 shards, 3 damaged")
    (sample,) = read_shard(tmp_path / "out" / "b" / "1.tar")
    assert sample.key == "x" and set(sample.files) == {"intaglio", "txt"}
    expected = load(bundle).encode(read_wave(folder / "00.wav")[0].unsqueeze(0)).ids[0]
    assert torch.equal(read_tokens(io.BytesIO(sample.files["intaglio"]))[1], expected)
    damaged = read_row(tmp_path / "out" / "b" / "1.tar").about["damaged"]
    assert [one["key"] for one in damaged] == ["y/z", "none", "two"]
    assert damaged[0]["reason"].startswith("y/z.flac ")
    assert damaged[1]["reason"] == "none has 0 audio files, not 1: txt"
    assert damaged[2]["reason"] == "two has 2 audio files, not 1: flac wav"
    (long,) = read_shard(tmp_path / "out" / "a.tar")
    assert long.key == "k" * 120
    before = content(tmp_path / "out")
    assert tokenize(shards / "a.tar", tmp_path / "single").status == 0
    assert content(tmp_path / "single")["a.tar"] == before["a.tar"]


def test_a_damaged_shard_is_named_and_leaves_nothing(tokenize, folder, tmp_path):
    good = (folder / "00.wav").read_bytes()
    for name in "abc":
        shard_of(tmp_path / "shards" / f"{name}.tar", [("x", {"wav": good}), ("y", {"wav": good})])
    path = tmp_path / "shards" / "b.tar"
    whole = path.read_bytes()
    path.write_bytes(whole[:-4096])
    status, out, err = tokenize(tmp_path / "shards", tmp_path / "out")
    assert status == 1 and out.startswith("4 recordings in 2 shards, 0 damaged; other shards")
    lines = err.splitlines()
    assert lines[0].startswith("intaglio: skipped: ") and "b.tar" in lines[0]
    assert lines[1] == "intaglio: error: 1 of 3 shards could not be made; see above"
    assert sorted(content(tmp_path / "out")) == ["a.json", "a.tar", "c.json", "c.tar"]
    path.write_bytes(whole)
    assert tokenize(tmp_path / "shards", tmp_path / "out").status == 0
    assert "shards.jsonl" in content(tmp_path / "out")


def test_too_many_damaged_recordings_are_an_error_after_all_is_done(tokenize, folder, tmp_path):
    status, out, err = tokenize(folder, tmp_path / "out", "--max-bad-share", 0.15)
    assert status == 1 and out.startswith(f"{COUNT} recordings in 4 shards")
    assert "2 of 13 recordings cannot be read, more than 15.0%" in err
    assert err.count("\n") == 1 and "05b.wav is an empty file" in err
    assert "shards.jsonl" in content(tmp_path / "out")
    assert tokenize(folder, tmp_path / "out", "--max-bad-share", 0.16).status == 0


def test_a_shard_whose_recordings_are_gone_is_not_finished(tokenize, folder, tmp_path):
    """As when a disk has gone."""
    names = sorted(path for path in folder.rglob("*.wav"))
    write_manifest(tmp_path / "list.jsonl", [Record(str(path)) for path in names])
    kept = names[0].read_bytes()
    for path in names[:4]:
        path.rename(path.with_suffix(".away"))
    status, _, err = tokenize(tmp_path / "list.jsonl", tmp_path / "out")
    assert status == 1 and "none of 4 recordings is there" in err
    assert "000000.tar" not in content(tmp_path / "out")
    names[0].write_bytes(kept)
    assert tokenize(tmp_path / "list.jsonl", tmp_path / "out", "--max-bad-share", 1).status == 0
    assert "shards.jsonl" in content(tmp_path / "out")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--job-index", 2, "--num-jobs", 2), "job 2 of 2"),
        (("--job-index", -1), "--job-index: it is a whole number from 0"),
        (("--num-jobs", 0), "--num-jobs: it is a whole number from 1"),
        (("--per-shard", 0), "--per-shard: it is a whole number from 1"),
        (("--batch-seconds", 0), "--batch-seconds: it is a number above 0"),
        (("--max-bad-share", 1.5), "--max-bad-share: it is a share in [0, 1]"),
    ],
)
def test_wrong_options_are_one_line(refusal, folder, bundle, tmp_path, words, reason):
    out = tmp_path / "out"
    assert reason in refusal("tokenize", folder, "-o", out, "--codec", bundle, *words, status=2)
    assert not out.exists()


def test_wrong_places_are_one_line(refusal, folder, bundle, tmp_path):
    words = ("--codec", bundle, "-o", tmp_path / "out")
    assert "not a folder, a manifest or the name" in refusal("tokenize", tmp_path / "gone", *words)
    line = refusal("tokenize", folder / "00.wav", *words)
    assert line == f"{folder / '00.wav'} is an audio file itself; give its folder or a manifest"
    (tmp_path / "empty").mkdir()
    assert "no audio files" in refusal("tokenize", tmp_path / "empty", *words)
    assert "lies within" in refusal("tokenize", folder, "-o", folder / "out", "--codec", bundle)
    shard_of(folder / "a.tar", [("x", {"wav": b""})])
    assert "both shards and recordings" in refusal("tokenize", folder, *words)
    assert not (tmp_path / "out").exists()


KILLED = """
import os, signal, sys, threading
import torch
torch.set_num_threads(1)
{trap}
from intaglio.recipes.cli import main
sys.exit(main())
"""
TRAPS = {  # where a kill hurts most
    "before a shard takes its place": """
replace = os.replace
def replacing(part, path):
    if str(path).endswith("000001.tar"):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(part, path)
os.replace = replacing
""",
    "between a shard and its row": """
replace = os.replace
def replacing(part, path):
    replace(part, path)
    if str(path).endswith("000002.tar"):
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = replacing
""",
    "before the list of all": """
replace = os.replace
def replacing(part, path):
    if str(path).endswith("shards.jsonl"):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(part, path)
os.replace = replacing
""",
}


def command(folder, out, bundle, trap=""):
    words = ["tokenize", folder, "-o", out, "--codec", bundle, "--per-shard", "4"]
    words += ["--max-bad-share", "0.5"]
    return [sys.executable, "-c", KILLED.format(trap=trap), *map(str, words)]


@pytest.mark.parametrize("trap", TRAPS)
def test_a_killed_run_goes_on_to_the_same_bytes(tokenize, folder, bundle, tmp_path, trap):
    assert tokenize(folder, tmp_path / "whole").status == 0
    whole, out = content(tmp_path / "whole"), tmp_path / "out"
    run = subprocess.run(command(folder, out, bundle, TRAPS[trap]), capture_output=True)
    assert run.returncode == -signal.SIGKILL
    left = content(out)
    assert left and "shards.jsonl" not in left  # it had begun and was not done
    assert any(name.endswith(".intaglio-part") for name in left) == ("before" in trap)
    assert tokenize(folder, out).status == 0
    assert content(out) == whole


def started(folder, out, bundle):
    """A run that has written its first shard."""
    run = subprocess.Popen(command(folder, out, bundle))
    while not out.exists():
        assert run.poll() is None
        time.sleep(0.001)
    return run


@pytest.mark.slow
def test_runs_killed_at_any_moment_go_on_to_the_same_bytes(tokenize, record, bundle, tmp_path):
    for number in range(60):
        record(tmp_path / "in" / f"{number:02}.wav", 80_000)
    run = started(tmp_path / "in", tmp_path / "whole", bundle)
    begin = time.monotonic()
    assert run.wait() == 0
    seconds, whole = time.monotonic() - begin, content(tmp_path / "whole")
    moments, stages = random.Random(7), set()
    for number in range(12):
        out = tmp_path / f"out{number}"
        run = started(tmp_path / "in", out, bundle)
        time.sleep(0.8 * seconds * moments.random())
        run.kill()
        assert run.wait() == -signal.SIGKILL
        stages.add(len(content(out)))
        assert tokenize(tmp_path / "in", out).status == 0
        assert content(out) == whole
    assert len(stages) > 3  # the kills came at different stages


def test_two_processes_at_once_do_no_harm(tokenize, folder, bundle, tmp_path):
    assert tokenize(folder, tmp_path / "whole").status == 0
    out = tmp_path / "out"
    runs = [subprocess.Popen(command(folder, out, bundle)) for _ in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    assert content(out) == content(tmp_path / "whole")
