"""Which files a command reads and writes, and how it treats failures of some."""

import errno
import os
from pathlib import Path

import pytest
import torch

from intaglio.recipes import file_jobs
from intaglio.recipes.errors import explain, say
from intaglio.recipes.file_jobs import FileJob, JobOptions, plan_files, run_all, watched
from intaglio.recipes.modalities.files import unfinished


@pytest.fixture
def tree(in_tmp_path):
    for name in (
        "in/b.WAV",
        "in/a.wav",
        "in/deep/er/c.flac",
        "in/notes.txt",
        "in/._a.wav",
        "in/.Trash/d.wav",
        "one.wav",
    ):
        path = in_tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return in_tmp_path


def planned(inputs, out, overwrite=False):
    options = JobOptions(overwrite=overwrite)
    jobs = plan_files(inputs, out, {".wav", ".flac"}, ".x", options=options)
    return [(str(job.source), str(job.target)) for job in jobs]


def test_a_folder_is_mirrored_without_hidden_and_foreign_files(tree):
    assert planned(["in"], "out") == [
        ("in/a.wav", "out/a.x"),
        ("in/b.WAV", "out/b.x"),
        ("in/deep/er/c.flac", "out/deep/er/c.x"),
    ]


def test_one_file_goes_to_a_file_or_into_a_folder(tree):
    assert planned(["one.wav"], "out") == [("one.wav", "out")]
    assert planned(["one.wav"], "out/") == [("one.wav", "out/one.x")]
    assert planned(["one.wav"], "in") == [("one.wav", "in/one.x")]
    assert planned(["in/notes.txt"], "y") == [("in/notes.txt", "y")]  # named by hand: any ending


def test_files_and_folders_together(tree):
    found = planned(["one.wav", "in/deep"], "out")
    assert found == [("one.wav", "out/one.x"), ("in/deep/er/c.flac", "out/er/c.x")]


def test_what_would_be_lost_is_refused(tree):
    (tree / "out").touch()
    with pytest.raises(FileExistsError, match="--overwrite"):
        planned(["one.wav"], "out")
    assert planned(["one.wav"], "out", overwrite=True) == [("one.wav", "out")]
    with pytest.raises(ValueError, match="the input itself"):
        planned(["one.wav"], "./one.wav", overwrite=True)
    with pytest.raises(NotADirectoryError, match="out is a file"):
        planned(["in"], "out", overwrite=True)
    (tree / "more").mkdir()
    (tree / "more" / "one.wav").touch()
    with pytest.raises(ValueError, match=r"^one.wav and more/one.wav would both become new/one.w"):
        planned(["one.wav", "more"], "new")
    (tree / "full" / "one.x").mkdir(parents=True)
    with pytest.raises(ValueError, match="is a folder"):
        planned(["one.wav"], "full", overwrite=True)


def test_files_that_differ_in_their_suffix_only_keep_it(tree):
    (tree / "in" / "b.flac").touch()
    (tree / "in" / "deep" / "b.wav").touch()
    assert planned(["in"], "new") == [
        ("in/a.wav", "new/a.x"),
        ("in/b.WAV", "new/b.WAV.x"),
        ("in/b.flac", "new/b.flac.x"),
        ("in/deep/b.wav", "new/deep/b.x"),
        ("in/deep/er/c.flac", "new/deep/er/c.x"),
    ]


def test_what_is_there_is_kept_and_nothing_is_replaced(tree, capsys):
    def left(check=lambda target: None):
        options = JobOptions(resume=True)
        jobs = plan_files(["in"], "out", {".wav", ".flac"}, ".x", options=options)
        return [str(job.source) for job in unfinished(jobs, check)]

    assert left() == ["in/a.wav", "in/b.WAV", "in/deep/er/c.flac"]
    assert capsys.readouterr().err == ""
    (tree / "out").mkdir()
    (tree / "out" / "a.x").write_text("made")
    assert left() == ["in/b.WAV", "in/deep/er/c.flac"]
    assert capsys.readouterr().err == "intaglio: kept 1 file of 3, made before\n"

    def check(target):
        raise ValueError("of another codec")

    with pytest.raises(ValueError, match=r"^out/a.x: of another codec; move it away"):
        left(check)
    os.utime(tree / "out" / "a.x", (0, 0))
    with pytest.raises(FileExistsError, match=r"^out/a.x is older than in/a.wav"):
        left()
    with pytest.raises(FileExistsError, match=r"^out/a.x exists; add --resume to keep"):
        planned(["in"], "out")


def test_missing_inputs_and_empty_folders_are_refused(tree):
    with pytest.raises(FileNotFoundError, match="gone.wav does not exist"):
        planned(["one.wav", "gone.wav"], "out")
    (tree / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no file"):
        planned(["empty"], "out")


def test_failures_of_some_are_named_at_the_end(capsys):
    done = []

    def work(job):
        if job.source.stem in "bd":
            raise ValueError(f"{job.source} is bad")
        done.append(job.source.stem)

    jobs = [FileJob(Path(f"{stem}.wav"), Path("x")) for stem in "abcd"]
    with pytest.raises(ValueError, match="2 of 4 files could not be cooked"):
        run_all(jobs, work, "cooked")
    assert done == ["a", "c"]
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2:] == ["intaglio: skipped: b.wav is bad", "intaglio: skipped: d.wav is bad"]


def test_a_single_failure_is_raised_as_it_is_and_without_a_progress_bar(capsys):
    def work(job):
        raise FileNotFoundError("gone")

    with pytest.raises(FileNotFoundError, match="gone"):
        run_all([FileJob(Path("a"), Path("b"))], work, "cooked")
    assert capsys.readouterr().err == ""


def test_a_single_failure_of_any_class_is_one_of_the_user_that_names_the_file():
    for error in (AttributeError("no bits"), ValueError("no bits"), FileNotFoundError("no bits")):

        def work(job, error=error):
            raise error

        with pytest.raises((ValueError, OSError), match=r"^tone.wav: .*no bits"):
            run_all([FileJob(Path("tone.wav"), Path("b"))], work, "cooked")


def test_no_file_steers_the_terminal_through_a_message(capsys):
    name = "a\x1b]0;title\x07\n\u202e.wav"

    def work(job):
        raise ValueError(f"{job.source} is damaged")

    with pytest.raises(ValueError, match="2 of 2"):
        run_all([FileJob(Path(name), Path("b"))] * 2, work, "cooked")
    say(name)
    shown = capsys.readouterr().err
    assert not {*"\x1b\x07\u202e"} & {*shown} and r"\x1b]0;title\x07" in shown
    for error in (ValueError(name), OSError(errno.ENOENT, "gone", name), KeyError(name)):
        assert explain(error).isprintable(), error


class _Odd(Exception):
    """As a decoder might raise."""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("bug"), "b.wav: KeyError: 'bug'"),
        (AttributeError(), "b.wav: AttributeError"),
        (_Odd("b.wav has no end"), "_Odd: b.wav has no end"),
        (
            RuntimeError("first\nsecond " + "x" * 9999),
            f"b.wav: RuntimeError: first second {'x' * 287}…",
        ),
        (MemoryError(), "b.wav: there is not enough memory; free some"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
            "b.wav: there is not",
        ),
        (
            UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid"),
            "b.wav: it is not UTF-8 text",
        ),
        (OSError(errno.EIO, "Input/output error"), "b.wav: Input/output error"),
        (ValueError("\x1b[2Jb.wav\x07 is bad\u202e"), r"\x1b[2Jb.wav\x07 is bad\u202e"),
    ],
)
def test_a_failure_of_any_class_is_isolated_and_names_its_file(capsys, error, reason):
    done = []

    def work(job):
        if job.source.stem == "b":
            raise error
        done.append(job.source.stem)

    jobs = [FileJob(Path(f"{stem}.wav"), Path("x")) for stem in "abc"]
    with pytest.raises(ValueError, match="1 of 3 files could not be cooked"):
        run_all(jobs, work, "cooked")
    assert done == ["a", "c"]
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "skipped" in line]
    assert line.startswith(f"intaglio: skipped: {reason}")


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), OSError(errno.EDQUOT, "full"), KeyboardInterrupt()]
)
def test_a_full_disk_and_an_interrupt_end_the_run_after_naming_what_failed(capsys, error):
    calls = []

    def work(job):
        calls.append(job)
        raise ValueError("no sound") if len(calls) == 1 else error

    with pytest.raises(type(error)):
        run_all([FileJob(Path("tone.wav"), Path("b"))] * 4, work, "cooked")
    assert len(calls) == 2
    assert "intaglio: skipped: tone.wav: no sound" in capsys.readouterr().err


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_a_run_that_ends_early_says_how_to_go_on(capsys, error):
    def work(job):
        if job.source.stem == "c":
            raise error

    jobs = [FileJob(Path(f"{stem}.wav"), Path("x")) for stem in "abcd"]
    with pytest.raises(type(error)) as caught:
        run_all(jobs, work, "cooked", resumable=True)
    line = "cooked 2 of 4 files; to do the rest, give the same command with --resume"
    assert f"intaglio: {line}\n" in capsys.readouterr().err
    if isinstance(error, OSError):
        advice = "free some space and give the same command with --resume"
        assert explain(caught.value) == f"the disk is full; {advice}"


@pytest.mark.parametrize(
    ("share", "done", "message"),
    [
        (0.5, 10, "5 of 10 files"),
        (0.4, 9, "stopped after 9 of 10 files: 5 could not be"),
        (0, 1, "1"),
    ],
)
def test_the_rest_is_given_up_when_the_share_of_bad_files_is_too_large(share, done, message):
    calls = []

    def work(job):
        calls.append(job)
        if len(calls) % 2:
            raise ValueError("no sound")

    with pytest.raises(ValueError, match=message):
        run_all([FileJob(Path("a"), Path("b"))] * 10, work, "cooked", max_bad_share=share)
    assert len(calls) == done


def test_several_files_have_one_bar(capsys, monkeypatch):
    """Not another one for the seconds of each, which it shows itself."""
    bars = []

    class Counted(file_jobs.tqdm):
        def __init__(self, *words, **options):
            bars.append(self)
            super().__init__(*words, **options)

    monkeypatch.setattr(file_jobs, "tqdm", Counted)

    def work(job):
        for _ in watched([torch.zeros(1, 8000)] * 3, 3.0, 8000):
            pass

    run_all([FileJob(Path(name), Path("x")) for name in "ab"], work, "cooked")
    assert len(bars) == 1 and "3 of 3 s" in bars[0].postfix
    run_all([FileJob(Path("a"), Path("x"))], work, "cooked")
    assert len(bars) == 3  # of one file, that of its seconds is shown
