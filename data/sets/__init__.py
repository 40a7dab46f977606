"""Named real data sets, fetched by the package managers' own clients and kept in one folder.

A set is a folder of audio files or images with a manifest and a licence note; it appears whole or
not at all.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from intaglio.data.formats.atomic import replacing_set
from intaglio.data.formats.named import named
from intaglio.data.manifest import Record, read_manifest, write_manifest
from intaglio.data.sets.base import MANIFEST, RealSet, home
from intaglio.data.sets.clipart import CLIPART
from intaglio.data.sets.digits import DIGITS
from intaglio.data.sets.emoji import EMOJI
from intaglio.data.sets.photos import PHOTOS
from intaglio.data.sets.prompts import ALL_PROMPTS, PROMPTS
from intaglio.data.sets.queen import QUEEN
from intaglio.data.sets.samples import SAMPLES
from intaglio.data.sets.sky import SKY

__all__ = ["SETS", "RealSet", "complete", "folder_of", "get", "home", "set_named"]

SETS: tuple[RealSet, ...] = (
    *(PROMPTS, ALL_PROMPTS, QUEEN, SKY, SAMPLES),
    *(EMOJI, CLIPART, PHOTOS, DIGITS),
)


def set_named(name: str) -> RealSet:
    """The set of that name.

    Raises:
        ValueError: there is none.
    """
    for known in SETS:
        if known.name == name:
            return known
    names = ", ".join(known.name for known in SETS)
    raise ValueError(f"there is no set named {name!r}; there are {names}")


def folder_of(name: str, root: str | Path | None = None) -> Path:
    """Where the set of that name is, or would be: ``root/name``, under `home` by default."""
    folder = home() if root is None else named(root, "folder for the sets").expanduser()
    return folder / set_named(name).name


def complete(folder: Path) -> bool:
    """Whether ``folder`` holds a manifest and every file that it names."""
    manifest = folder / MANIFEST
    return manifest.is_file() and all(
        (folder / record.path).is_file() for record in read_manifest(manifest)
    )


def get(
    name: str,
    root: str | Path | None = None,
    *,
    progress: Callable[[Iterator[Record], int], Iterable[Record]] | None = None,
) -> Path:
    """Fetch a set, unless it is there already, and return its folder.

    Args:
        name: one of `SETS`.
        root: folder to hold the folder of the set; `home` by default.
        progress: wraps the records as they are made, given their expected number, as ``tqdm`` does.

    Raises:
        ValueError: no such set, or there is nothing of it in its packages.
        OSError: it cannot be fetched or written; nothing half-made stays.
    """
    chosen = set_named(name)
    folder = folder_of(name, root)
    if folder.exists():
        if complete(folder):
            return folder
        raise FileExistsError(f"{folder} is incomplete: remove it and get {name} again")
    with replacing_set(folder) as made:
        if complete(folder):  # another process was waited for, which has fetched it
            return folder
        records = chosen.build(made)
        found = list(progress(records, chosen.items) if progress else records)
        _compare(chosen, found)
        write_manifest(made / MANIFEST, found)
    return folder


def _compare(expected: RealSet, records: list[Record]) -> None:
    """Say so if the packages have changed since they were measured; refuse an empty set."""
    minutes = sum(record.seconds for record in records) / 60
    if not records:
        raise ValueError(f"{expected.name}: no {expected.unit} in {expected.source}")
    if len(records) != expected.items or abs(minutes - expected.minutes) > 0.06:
        found, due = (
            f"{number} {expected.unit}" + (f" of {length:.1f} minutes" if expected.minutes else "")
            for number, length in ((len(records), minutes), (expected.items, expected.minutes))
        )
        logging.getLogger(__name__).warning(
            "%s has %s, not %s: its packages have changed", expected.name, found, due
        )
