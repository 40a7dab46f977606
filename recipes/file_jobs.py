"""One command over many files: what is read, where it goes, and how damaged ones are reported.

The path ``-`` stands for standard input and standard output.
"""

import contextlib
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import NamedTuple

from torch import Tensor
from tqdm import tqdm

from intaglio.data.formats.regular_file import visible_files
from intaglio.recipes.errors import ends_a_job, explain, of_file, say, show_traceback

STANDARD = Path("-")
_FILES: ContextVar[tqdm | None] = ContextVar("files", default=None)  # the bar of several files
MAX_STDIN = 16 << 30  # bytes of standard input that are kept in a temporary file
SPOOL_BLOCK = 1 << 20
RESUME = "give the same command with --resume"


class JobOptions(NamedTuple):
    """How a command treats its files.

    Attributes:
        overwrite: replace files that exist.
        resume: keep files that exist, and do the rest.
        max_bad_share: share of the files, in [0, 1], that may fail before the rest is given up.
        max_stdin: bytes of standard input, at most.
    """

    overwrite: bool = False
    resume: bool = False
    max_bad_share: float = 1.0
    max_stdin: int = MAX_STDIN


DEFAULTS = JobOptions()


class FileJob(NamedTuple):
    """A file to read and the file to write.

    Attributes:
        source: what to read.
        target: what to write.
        max_stdin: bytes of standard input, at most.
    """

    source: Path
    target: Path
    max_stdin: int = MAX_STDIN


def plan_files(
    inputs: Sequence[str],
    out: str,
    suffixes: Collection[str],
    new_suffix: str,
    *,
    options: JobOptions = DEFAULTS,
) -> list[FileJob]:
    """Pairs of input and output files, checked before any work is done.

    A folder stands for its files with one of the ``suffixes``, at any depth, except hidden ones,
    and its tree is mirrored below ``out``. Files that differ in their suffix only keep it before
    the new one. A single input file goes to the file ``out``, unless that is a folder. ``-`` is a
    single file on both sides.

    Args:
        inputs: files and folders.
        out: file for a single input file, otherwise a folder.
        suffixes: of the files to take from folders, in lower case.
        new_suffix: of the files to write into a folder.
        options: whether the files to write may exist, and the bytes of standard input.

    Raises:
        FileNotFoundError: an input does not exist.
        FileExistsError: an output exists.
        ValueError: a folder without such files, or two inputs with the same output.
        NotADirectoryError: ``out`` is a file and must be a folder.
    """
    jobs = _paired(inputs, out, suffixes, new_suffix, options.max_stdin)
    origins: dict[Path, Path] = {}
    for source, target, _ in jobs:
        if source != STANDARD and not source.exists():
            raise FileNotFoundError(f"{source} does not exist; check the path")
        if target == STANDARD:
            continue
        other = origins.setdefault(target, source)
        if other is not source:
            raise ValueError(f"{other} and {source} would both become {target}; run them apart")
        if target.exists() and not (options.overwrite or options.resume):
            keep = "--resume to keep what is there and do the rest, or " if len(jobs) > 1 else ""
            raise FileExistsError(
                f"{target} exists; add {keep}--overwrite, or choose another output"
            )
        if target.is_dir() or (target.exists() and _is_same(source, target)):
            raise ValueError(f"{target} is a folder or the input itself; choose another output")
        if target.exists() and not target.is_file():
            raise ValueError(f"{target} is a device or a pipe, not a file; - is standard output")
    return jobs


def run_all(
    jobs: list[FileJob],
    work: Callable[[FileJob], None],
    verb: str,
    *,
    max_bad_share: float = 1.0,
    resumable: bool = False,
) -> None:
    """Do the work for each job; of several, those that fail in whatever way are named at the end.

    Args:
        jobs: what to do.
        work: does one job.
        verb: what is done to the files, for the message: "encoded".
        max_bad_share: share of the jobs, in [0, 1], that may fail before the rest is given up.
        resumable: the command goes on with ``--resume``, and says so if it ends early.

    Raises:
        ValueError: some of several jobs failed, and their reasons have been printed to stderr; or
            the only one did, and its reason did not name the file.
        Exception: what the work raised, if it is the only job or the disk is full.
    """
    failures: list[str] = []
    made = 0
    several = len(jobs) > 1
    bar = tqdm(jobs, disable=not several, unit="file", file=sys.stderr)
    shown = _FILES.set(bar if several else None)
    try:
        for job in bar:
            try:
                work(job)
                made += 1
            except Exception as error:
                name = "standard input" if job.source == STANDARD else job.source
                fault = of_file(name, error)
                if several and resumable and ends_a_job(error):
                    raise OSError(explain(error, again=RESUME)) from error
                if ends_a_job(error) or (not several and fault is error):
                    raise
                if not several:
                    raise fault from error
                show_traceback(error)
                failures.append(explain(fault))
            if len(failures) > max_bad_share * len(jobs):
                break
    finally:
        _FILES.reset(shown)
        bar.close()
        for reason in failures:
            say(f"skipped: {reason}")
        done = made + len(failures)
        if several and resumable and done < len(jobs):
            say(f"{verb} {made} of {len(jobs)} files; to do the rest, {RESUME}")
    if done < len(jobs):
        raise ValueError(
            f"stopped after {done} of {len(jobs)} files: {len(failures)} could not be {verb}, more "
            f"than the {max_bad_share:.1%} that --max-bad-share allows; see above"
        )
    if failures:
        raise ValueError(f"{len(failures)} of {len(jobs)} files could not be {verb}; see above")


def watched(blocks: Iterable[Tensor], seconds: float, sample_rate: int) -> Iterator[Tensor]:
    """The same blocks [..., samples], counted by a progress bar on a terminal."""
    done, files = 0.0, _FILES.get()
    if files is not None:  # there is one bar, which shows both
        for block in blocks:
            yield block
            done += block.shape[-1] / sample_rate
            files.set_postfix_str(f"{done:.0f} of {seconds:.0f} s", refresh=sys.stderr.isatty())
        return
    with tqdm(
        total=round(seconds), disable=None, leave=False, unit="s", file=sys.stderr
    ) as progress:
        for block in blocks:
            yield block
            progress.update(round(block.shape[-1] / sample_rate, 1))


@contextlib.contextmanager
def read_from(source: Path, max_stdin: int = MAX_STDIN) -> Iterator[Path]:
    """The file to read: the source itself, or what came in by standard input as a temporary file.

    Raises:
        OSError: standard input cannot be read or does not fit the disk.
        ValueError: standard input is longer than ``max_stdin`` bytes.
    """
    if source != STANDARD:
        yield source
        return
    with NamedTemporaryFile() as file:
        while block := sys.stdin.buffer.read(SPOOL_BLOCK):
            if file.tell() + len(block) > max_stdin:
                raise ValueError(
                    f"standard input is longer than {max_stdin / 2**30:g} GiB, the limit; "
                    "raise it with --max-stdin, or give a file"
                )
            file.write(block)
        file.flush()
        try:
            yield Path(file.name)
        except ValueError as error:
            raise ValueError(str(error).replace(file.name, "standard input")) from error


@contextlib.contextmanager
def write_to(target: Path, suffix: str) -> Iterator[Path]:
    """The file to write, as a whole, in a folder that exists and is removed if the block fails.

    Standard output is given a temporary file with the suffix, after it has been written.

    Raises:
        OSError: a folder or the output cannot be written.
        ValueError: standard output is a terminal.
    """
    if target == STANDARD:
        if sys.stdout.isatty():
            raise ValueError("refused to write to a terminal; send the output to a file or a pipe")
        with TemporaryDirectory() as temporary:
            path = Path(temporary) / f"output{suffix}"
            yield path
            with path.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
        return
    made = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield target
    except BaseException:
        with contextlib.suppress(OSError):  # another job writes there
            for folder in made:
                folder.rmdir()
        raise


def _paired(
    inputs: Sequence[str], out: str, suffixes: Collection[str], new_suffix: str, max_stdin: int
) -> list[FileJob]:
    """Inputs and outputs, which may exist or be the same."""
    folder = Path(out)
    if "-" in (*inputs, out) and (len(inputs) > 1 or Path(inputs[0]).is_dir() or _is_folder(out)):
        raise ValueError("- is one file: standard input goes to one file, one file to the output")
    if len(inputs) == 1 and not Path(inputs[0]).is_dir() and not _is_folder(out):
        return [FileJob(Path(inputs[0]), folder, max_stdin)]
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{out} is a file; several files need a folder to go to")
    found = [pair for name in inputs for pair in _sources(Path(name), suffixes)]
    stems = Counter(path.with_suffix("") for _, path in found)
    jobs = []
    for source, path in found:
        stem = path.with_suffix("")
        jobs.append(FileJob(source, folder / f"{path if stems[stem] > 1 else stem}{new_suffix}"))
    return jobs


def _sources(path: Path, suffixes: Collection[str]) -> list[tuple[Path, Path]]:
    """Files that an input stands for, each with its path below the output folder."""
    if not path.is_dir():
        return [(path, Path(path.name))]
    found = [
        (file, file.relative_to(path))
        for file in visible_files(path)
        if file.suffix.lower() in suffixes
    ]
    if not found:
        raise ValueError(
            f"{path} holds no file with one of the endings {' '.join(sorted(suffixes))}"
        )
    return found


def _is_same(source: Path, target: Path) -> bool:
    return source != STANDARD and target.samefile(source)


def _is_folder(out: str) -> bool:
    return out.endswith("/") or Path(out).is_dir()
