"""One command over many files: what is read, where it goes, and what becomes of damaged ones."""

import errno
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from intaglio.recipes.errors import USER_ERRORS, explain

_HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # the next file would fare no better


class Job(NamedTuple):
    """A file to read and the file to write."""

    source: Path
    target: Path


def plan(
    inputs: list[str], out: str, suffixes: Collection[str], new_suffix: str, *, overwrite: bool
) -> list[Job]:
    """Pairs of input and output files, checked before any work is done.

    A folder stands for its files with one of the ``suffixes``, at any depth, except hidden ones,
    and its tree is mirrored below ``out``. A single input file goes to the file ``out``, unless
    that is a folder.

    Args:
        inputs: files and folders.
        out: file for a single input file, otherwise a folder.
        suffixes: of the files to take from folders, in lower case.
        new_suffix: of the files to write into a folder.
        overwrite: whether the files to write may exist.

    Raises:
        FileNotFoundError: an input does not exist.
        FileExistsError: an output exists.
        ValueError: a folder without such files, or two inputs with the same output.
        NotADirectoryError: ``out`` is a file and must be a folder.
    """
    folder = Path(out)
    if len(inputs) == 1 and not Path(inputs[0]).is_dir() and not _is_folder(out):
        jobs = [Job(Path(inputs[0]), folder)]
    elif folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{out} is a file; several files need a folder to go to")
    else:
        jobs = [
            Job(source, folder / place.with_suffix(new_suffix))
            for name in inputs
            for source, place in _sources(Path(name), suffixes)
        ]
    origins: dict[Path, Path] = {}
    for source, target in jobs:
        if not source.exists():
            raise FileNotFoundError(f"{source} does not exist; check the path")
        other = origins.setdefault(target, source)
        if other is not source:
            raise ValueError(f"{other} and {source} would both become {target}; run them apart")
        if target.exists() and not overwrite:
            raise FileExistsError(f"{target} exists; add --overwrite or choose another output")
        if target.is_dir() or (target.exists() and target.samefile(source)):
            raise ValueError(f"{target} is a folder or the input itself; choose another output")
    return jobs


def run_all(jobs: list[Job], work: Callable[[Job], None], deed: str) -> None:
    """Do the work for each job; of several, those that fail are named at the end.

    Args:
        jobs: what to do.
        work: does one job.
        deed: what is done to the files, for people: "encoded".

    Raises:
        ValueError: some of several jobs failed; their reasons have been printed to stderr.
        Exception: what the work raised, if it is the only job or the disk is full.
    """
    failures = []
    hidden = len(jobs) == 1 and not sys.stderr.isatty()
    for job in tqdm(jobs, disable=hidden, unit="file", file=sys.stderr):
        try:
            work(job)
        except USER_ERRORS as error:
            if len(jobs) == 1 or (isinstance(error, OSError) and error.errno in _HOPELESS):
                raise
            failures.append(explain(error))
    for reason in failures:
        print(f"intaglio: skipped: {reason}", file=sys.stderr)
    if failures:
        raise ValueError(f"{len(failures)} of {len(jobs)} files could not be {deed}; see above")


def _sources(path: Path, suffixes: Collection[str]) -> list[tuple[Path, Path]]:
    """Files that an input stands for, each with its place below the output folder."""
    if not path.is_dir():
        return [(path, Path(path.name))]
    found = [
        (file, file.relative_to(path))
        for file in sorted(path.rglob("*"))
        if file.suffix.lower() in suffixes and file.is_file() and not file.name.startswith(".")
    ]
    if not found:
        raise ValueError(
            f"{path} holds no file with one of the endings {' '.join(sorted(suffixes))}"
        )
    return found


def _is_folder(out: str) -> bool:
    return out.endswith("/") or Path(out).is_dir()
