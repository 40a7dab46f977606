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
        licence: short name of the licence of the files.
        source: the packages and who serves them.
        items: number of clips or images, measured.
        minutes: duration of the clips, measured; 0 for images.
        megabytes: size of the download.
        build: writes the files into a folder and yields the record of each as it is done.
        kind: of the files, "audio" or "image".
    """

    name: str
    about: str
    licence: str
    source: str
    items: int
    minutes: float
    megabytes: float
    build: Callable[[Path], Iterator[Record]]
    kind: str = "audio"

    @property
    def unit(self) -> str:
        """What the items are called."""
        return "clips" if self.kind == "audio" else "images"


def home() -> Path:
    """Folder of all sets and tools: ``$INTAGLIO_DATA``, or ``~/.cache/intaglio/data``."""
    chosen = os.environ.get("INTAGLIO_DATA")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "intaglio" / "data"


def write_licence(folder: Path, licence: str, source: str, text: str) -> None:
    """Write the notice that the makers of the files ask for."""
    note = f"These files come from {source}.\nLicence: {licence}\n\n{text}"
    (folder / LICENCE).write_text(note, encoding="utf-8")
