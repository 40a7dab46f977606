"""Emoji with a three-dimensional look: pictures of 256 pixels with their names and categories.

Microsoft's Fluent Emoji, as an npm package serves them, under file names that are code points. The
names and the categories are those of the package emoji-datasource, of which no picture is used.
Variants of one emoji in several skin tones share a source: a split keeps them together.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from intaglio.data.manifest import Record
from intaglio.data.sets.base import RealSet, write_licence
from intaglio.data.sets.packages import fetch_npm, npm_files

PICTURES = "@lobehub/fluent-emoji-3d@1.1.0"
NAMES = "emoji-datasource@16.0.0"
LICENCE = "MIT"
NOTICE = """\
The pictures are Microsoft's Fluent Emoji (https://github.com/microsoft/fluentui-emoji), packed by
LobeHub; both are under the MIT licence. The names are of emoji-datasource by Cal Henderson, MIT:

"""
TONES = {
    "1f3fb": "light skin tone",
    "1f3fc": "medium-light skin tone",
    "1f3fd": "medium skin tone",
    "1f3fe": "medium-dark skin tone",
    "1f3ff": "dark skin tone",
}
LEFT_OUT = (0xFE0F, 0xE007F)  # variation selector, end of a flag's tag
Points = tuple[int, ...]


class Emoji(NamedTuple):
    """What is known of a picture.

    Attributes:
        name: in words, in lower case.
        category: one of ten.
        base: code points of the emoji without skin tones.
    """

    name: str
    category: str
    base: str


def build(folder: Path) -> Iterator[Record]:
    """Write the pictures into ``folder``, one record each."""
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=folder) as temporary:
        names = dict(npm_files(fetch_npm(NAMES, Path(temporary, "names"))))
        texts = {path.as_posix(): content for path, content in names.items()}
        known = read_names(json.loads(texts["emoji.json"]))
        rights = NOTICE + texts.get("LICENSE", b"").decode()
        write_licence(folder, LICENCE, f"the npm packages {PICTURES} and {NAMES}", rights)
        pictures = npm_files(fetch_npm(PICTURES, Path(temporary, "pictures")))
        for path, content in sorted(pictures):
            if path.parts == ("assets", path.name) and path.suffix == ".webp":
                (folder / path.name).write_bytes(content)
                emoji = known.get(code_points(path.stem), Emoji("", "", ""))
                yield Record(path.name, text=emoji.name, source=emoji.base, label=emoji.category)


def read_names(entries: list[dict[str, Any]]) -> dict[Points, Emoji]:
    """Names of all emoji and of their variants, by code points, of the content of ``emoji.json``.

    Raises:
        ValueError: an entry lacks a name or its code points.
    """
    found: dict[Points, Emoji] = {}
    for entry in entries:
        try:
            base, category = entry["unified"].lower(), entry["category"]
            name = (entry["name"] or entry["short_name"].replace("_", " ")).lower()
            variants = entry.get("skin_variations", {})
            found[code_points(base)] = Emoji(name, category, base)
            for tones, variant in variants.items():
                tone = " and ".join(TONES[part] for part in tones.lower().split("-"))
                points = code_points(variant["unified"])
                found[points] = Emoji(f"{name}, {tone}", category, base)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"emoji.json has an entry of another form: {error!r}") from error
    return found


def code_points(text: str) -> Points:
    """Numbers of code points in hexadecimal, whatever parts them.

    Those in `LEFT_OUT`, which file names and lists do not use alike, are left out.
    """
    points = (int(part, 16) for part in text.replace("_", "-").split("-"))
    return tuple(point for point in points if point not in LEFT_OUT)


EMOJI = RealSet(
    name="emoji-3d",
    about="emoji with a 3D look, 256 x 256 with transparency; name and category",
    licence=LICENCE,
    source=f"npm {PICTURES}, {NAMES}",
    items=3391,
    minutes=0,
    megabytes=41,
    build=build,
    kind="image",
)
