"""Files of a data set: found, checked in threads, and those that cannot be read counted and named.

No file is lost silently: one that cannot be read is named with the reason, whether its header or
only its content is damaged, and too many of them stop the run.
"""

import logging
import sys
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from tqdm import tqdm

from intaglio.data.formats.named import named
from intaglio.data.formats.printable import counted, printable
from intaglio.data.formats.regular_file import visible_files
from intaglio.data.manifest import Record, read_manifest, source_key
from intaglio.data.sets import MANIFEST, SETS, folder_of

T = TypeVar("T")
NAMED = 20  # damaged files that a message names one by one
THREADS = 8  # reading waits for the disk more than for the processor

logger = logging.getLogger(__name__)


class Numbered(Protocol):
    """A file that was found."""

    @property
    def number(self) -> int:
        """Its number among all that were found."""

    @property
    def path(self) -> Path:
        """Where it is."""


class Damage:
    """Files of a data set that cannot be read; including those that a worker process meets.

    Args:
        total: number of files in the data set.
        max_share: share of damaged files that is tolerated.
    """

    def __init__(self, total: int, max_share: float) -> None:
        if not 0 <= max_share <= 1:
            raise ValueError(f"the share of damaged files must be in [0, 1], got {max_share}")
        self.total, self.max_share = total, max_share
        self.reasons: dict[int, str] = {}
        self._met = torch.zeros(total, dtype=torch.bool).share_memory_()

    def __len__(self) -> int:
        return int(self._met.sum())

    def add(self, number: int, reason: str) -> bool:
        """Note a damaged file; False if it was known."""
        if self._met[number]:
            return False
        self._met[number] = True
        self.reasons[number] = reason
        return True

    def check(self) -> None:
        """Stop the run if there are too many.

        Raises:
            ValueError: the share of damaged files is above ``max_share``.
        """
        if len(self) > self.max_share * self.total:
            raise ValueError(
                f"{self.summary()}; more than the {self.max_share:.1%} that max_bad_share allows"
            )

    def summary(self) -> str:
        """One line: how many, which, why. Those met by a worker are counted; it has named them."""
        named = [self.reasons[number] for number in sorted(self.reasons)[:NAMED]]
        rest = len(self) - len(named)
        named += [f"and {rest} more"] if rest else []
        return f"{len(self)} of {counted(self.total, 'file')} cannot be read: {'; '.join(named)}"


def find(root: str | Path, suffixes: Collection[str], *, kind: str) -> tuple[Path, list[Record]]:
    """Records of a data set, sorted by path, and the folder that their paths start from.

    Args:
        root: a folder with files at any depth, a folder with a ``manifest.jsonl``, a manifest, or
            the name of a fetched set.
        suffixes: of the files to take from a folder without a manifest, in lower case.
        kind: of the files: "audio" or "image".

    Raises:
        ValueError: there is no such file in the folder, a file is given in its place, the manifest
            is damaged, or the set is of another kind.
        FileNotFoundError: there is nothing at ``root``.
    """
    root = _located(str(root), kind)
    if root.is_dir() and not (root / MANIFEST).is_file():
        records = [
            Record(path.relative_to(root).as_posix())
            for path in visible_files(root)
            if path.suffix.lower() in suffixes
        ]
        folder = root
    else:
        if root.suffix.lower() in suffixes and root.is_file():
            raise ValueError(f"{root} is an {kind} file itself; give its folder or a manifest")
        manifest = root / MANIFEST if root.is_dir() else root
        records = read_manifest(manifest)
        folder = manifest.parent
    if not records:
        raise ValueError(f"no {kind} files in {root}")
    return folder, sorted(records)


def find_all(
    roots: Sequence[str | Path], suffixes: Collection[str], *, kind: str
) -> tuple[Path, list[Record]]:
    """As `find`, of several roots one after the other; a file that two of them hold counts once.

    Of several roots, records have absolute paths, and the ``source`` by which `find` of one root
    would split them: an item is on the same side whether its root is given alone or with others.

    Raises:
        ValueError: as `find`, or no root is given.
        FileNotFoundError: there is nothing at one of them.
    """
    if not roots:
        raise ValueError(f"no folder of {kind} files is given: data.root is empty")
    if len(roots) == 1:
        return find(roots[0], suffixes, kind=kind)
    found: dict[str, Record] = {}
    for root in roots:
        folder, records = find(root, suffixes, kind=kind)
        for record in records:
            path = str((folder / record.path).resolve())
            found.setdefault(path, record._replace(path=path, source=source_key(record)))
    return Path(), list(found.values())


def each(
    work: Callable[[int], T],
    paths: Sequence[Path],
    damage: Damage,
    numbers: Sequence[int] | None = None,
) -> list[T | None]:
    """Results of ``work``, made in threads, None where a file is damaged.

    Args:
        work: takes the index of a file; whatever it raises means that the file is damaged.
        paths: of the files.
        damage: collects those that cannot be read.
        numbers: of the files, among all that were found; their indices if None.
    """

    def guarded(index: int) -> tuple[T | None, str]:
        try:
            return work(index), ""
        except Exception as error:
            return None, _reason(paths[index], error)

    results: list[T | None] = []
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(guarded, range(len(paths)))
        pause = 0.1 if sys.stderr.isatty() else 30.0  # between two reports of a log file
        watched = tqdm(
            found, total=len(paths), desc="files", delay=5, leave=False, mininterval=pause
        )
        for index, (result, reason) in enumerate(watched):
            if reason:
                damage.add(index if numbers is None else numbers[index], reason)
            results.append(result)
    return results


def read_or_next(
    index: int, read: Callable[[int], T], damage: Damage, files: Sequence[Numbered]
) -> T:
    """``read(index)``, or that of the next file that can be read, noting the damage.

    Args:
        index: which of the files.
        read: takes an index; whatever it raises means that the file is damaged.
        damage: collects those that cannot be read.
        files: all of them.

    Raises:
        ValueError: not one file can be read.
    """
    for step in range(len(files)):
        current = (index + step) % len(files)
        try:
            return read(current)
        except Exception as error:
            reason = _reason(files[current].path, error)
            if damage.add(files[current].number, reason):
                logger.warning("%s; the next file is used instead", reason)
    raise ValueError(f"none of {counted(len(files), 'file')} can be read: {damage.summary()}")


def _reason(path: Path, error: Exception) -> str:
    """Why a file cannot be read, with its name, safe to print."""
    kind = "" if isinstance(error, ValueError | OSError) and str(error) else type(error).__name__
    reason = ": ".join(filter(None, (kind, " ".join(str(error).split()))))
    return printable(reason if str(path) in reason else f"{path}: {reason}")


def _located(root: str, kind: str) -> Path:
    path = named(root, f"folder of {kind} files").expanduser()
    if path.exists():
        return path
    known = next((known for known in SETS if known.name == root), None)
    if known is None:
        raise FileNotFoundError(f"{root} is not a folder, a manifest or the name of a data set")
    if known.kind != kind:
        raise ValueError(f"the set {root} holds files of kind {known.kind}, wanted is {kind}")
    if not folder_of(root).is_dir():
        raise FileNotFoundError(f"{folder_of(root)} does not exist: run `intaglio data get {root}`")
    return folder_of(root)
