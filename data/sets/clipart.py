"""OpenClipart 0.18: drawings in the public domain with titles, in 22 classes.

As Debian ships them: a PNG and an SVG of each. The PNG is what is kept; the title stands in the
SVG, and where more than `SHARED` drawings have it, it names a collection: the file name is
used instead. The class is the folder at the top. Links to other drawings are left out.
"""

import html
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from intaglio.data.manifest import Record
from intaglio.data.sets.base import RealSet, write_licence
from intaglio.data.sets.packages import debian_copyright, fetch_debian

PACKAGES = ("openclipart-png", "openclipart-svg")
LICENCE = "public domain"
TITLE = re.compile(r"<dc:title>(.*?)</dc:title>", re.DOTALL)
SHARED = 8
UNTITLED = re.compile(r"open clip ?art|untitled|unknown", re.IGNORECASE)


def build(folder: Path) -> Iterator[Record]:
    """Move the drawings into ``folder``, one record each."""
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=folder) as temporary:
        unpacked = Path(temporary)
        fetch_debian(PACKAGES, unpacked)
        rights = debian_copyright(unpacked, PACKAGES[0])
        write_licence(folder, LICENCE, f"the Debian packages {', '.join(PACKAGES)}", rights)
        root = unpacked / "usr/share/openclipart"
        drawings = sorted(one for one in (root / "png").rglob("*.png") if not one.is_symlink())
        paths = [drawing.relative_to(root / "png") for drawing in drawings]
        titles = [title_of(root / "svg" / path.with_suffix(".svg")) for path in paths]
        count = Counter(titles)
        for drawing, path, title in zip(drawings, paths, titles, strict=True):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(drawing, folder / path)
            text = title if title and count[title] <= SHARED else spoken(path.stem)
            yield Record(path.as_posix(), text=text, label=path.parts[0])


def spoken(name: str) -> str:
    """Words of a file name, without the numbers at its end."""
    words = re.split(r"[\W_]+", name)
    while len(words) > 1 and (words[-1].isdigit() or not words[-1]):
        words.pop()
    return " ".join(words)


def title_of(drawing: Path) -> str:
    """Title in the metadata of an SVG file; empty if it has none."""
    if not drawing.is_file():
        return ""
    found = TITLE.search(drawing.read_text(encoding="utf-8", errors="replace"))
    title = " ".join(html.unescape(found[1]).split()) if found else ""
    return "" if UNTITLED.match(title) else title


CLIPART = RealSet(
    name="clipart",
    about="drawings with a title, in 22 classes; of all sizes, transparent",
    licence=LICENCE,
    source=f"Debian {', '.join(PACKAGES)}",
    items=6900,
    minutes=0,
    megabytes=156,
    build=build,
    kind="image",
)
