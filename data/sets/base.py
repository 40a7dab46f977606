"""What a named data set is, and where sets and tools are kept."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from intaglio.data.manifest import Record

MANIFEST = "manifest.jsonl"
LICENCE = "LICENSE.txt"


class RealSet(NamedTuple):
    """A data set that a package manager's own client can bring.

    Attributes:
        name: on the command line, and of its folder.
        about: one line on what it is.
        licence: short name of the licence of the recordings.
        source: the packages and who serves them.
        clips: number of clips, measured.
        minutes: their duration, measured.
        megabytes: size of the download.
        build: writes the clips into a folder and yields the record of each as it is done.
    """

    name: str
    about: str
    licence: str
    source: str
    clips: int
    minutes: float
    megabytes: float
    build: Callable[[Path], Iterator[Record]]


def home() -> Path:
    """Folder of all sets and tools: ``$INTAGLIO_DATA``, or ``~/.cache/intaglio/data``."""
    chosen = os.environ.get("INTAGLIO_DATA")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "intaglio" / "data"


def write_licence(folder: Path, licence: str, source: str, text: str) -> None:
    """Leave beside the clips what their makers ask to be told."""
    note = f"These recordings come from {source}.\nLicence: {licence}\n\n{text}"
    (folder / LICENCE).write_text(note, encoding="utf-8")
