"""Manifests, one JSON record a line, and the split into training, validation and test by source.

A split by clip leaks: the same sentence, spoken twice, would be trained on and tested. The side is
therefore a hash of the sentence, which depends on nothing but the sentence and the seed: not on the
machine, the order or the number of clips.
"""

import hashlib
import json
import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from intaglio.data.formats.atomic import replacing
from intaglio.data.formats.regular_file import read_text

Side = Literal["train", "validation", "test"]


class Record(NamedTuple):
    """One clip or image of a manifest.

    Attributes:
        path: of the file, from the folder of the manifest, or absolute.
        seconds: duration; 0 if unknown.
        text: what is said in it, or what it shows.
        speaker: who says it.
        language: of the text, as in ISO 639-1.
        source: what the clip was made from, if clips share a source that is not their text; clips
            with the same source fall on the same side of a split.
        label: name of its class; a number of JSON is a name, too.
    """

    path: str
    seconds: float = 0.0
    text: str = ""
    speaker: str = ""
    language: str = ""
    source: str = ""
    label: str = ""


def read_manifest(path: str | Path) -> list[Record]:
    """Records of a manifest; keys that `Record` does not name are left out, empty lines too.

    Raises:
        ValueError: a line is no record, and the message gives its number; or no file of text.
        FileNotFoundError: there is no such file.
    """
    lines = read_text(Path(path), "a manifest").split("\n")
    return [
        _record(line, f"{path}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def record_of(content: Any) -> Record:
    """The record of a JSON object; keys that `Record` does not name, and null, are left out.

    Raises:
        ValueError: it is no record.
    """
    if not isinstance(content, dict) or not isinstance(content.get("path"), str):
        raise ValueError('a record is an object with a "path"')
    if not content["path"]:
        raise ValueError('an empty "path"')
    given = {name: content[name] for name in Record._fields if content.get(name) is not None}
    seconds = given.pop("seconds", 0.0)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ValueError(f'"seconds" must be a number, got {seconds!r:.40}')
    if not 0 <= seconds <= sys.float_info.max:
        raise ValueError(f'"seconds" must be finite and at least 0, got {seconds!r:.40}')
    if type(given.get("label")) is int:  # other tools number their classes
        given["label"] = str(given["label"])
    for name, value in given.items():
        if not isinstance(value, str):
            raise ValueError(f'"{name}" must be text, got {value!r:.40}')
    return Record(seconds=float(seconds), **given)


def write_manifest(path: str | Path, records: Iterable[Record]) -> None:
    """Write a manifest, leaving out fields at their default; an old file is replaced as a whole."""
    with replacing(Path(path)) as part, part.open("w", encoding="utf-8") as file:
        for record in records:
            line = {
                name: value
                for name, value in record._asdict().items()
                if value != Record._field_defaults.get(name)
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def source_key(record: Record) -> str:
    """What decides the side of a clip: its source, else its text, else its path without suffix."""
    key = record.source or record.text
    return key if _words(key) else Path(record.path).with_suffix("").as_posix()


def split_of(source: str, fractions: tuple[float, float], seed: int = 0) -> Side:
    """Side of all clips made from ``source``.

    Args:
        source: a text or a name; case, punctuation and spaces do not count.
        fractions: shares of validation and of test, each in [0, 1]; the rest is for training.
        seed: another seed, another split.

    Raises:
        ValueError: the shares are negative or leave nothing for training.
    """
    validation, test = fractions
    if not (validation >= 0 and test >= 0 and validation + test < 1):
        raise ValueError(
            f"shares of validation {validation} and test {test} must be at least 0 and leave a rest"
        )
    key = f"{seed}\n{_words(source) or source}"
    digest = hashlib.sha256(key.encode(errors="surrogatepass")).digest()  # of odd file names
    share = int.from_bytes(digest[:8], "big") / 2**64
    if share < validation:
        return "validation"
    return "test" if share < validation + test else "train"


def _words(text: str) -> str:
    """Text without case, punctuation and repeated spaces."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(c if c.isalnum() else " " for c in text).split())


def _record(line: str, where: str) -> Record:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON: {error}") from error
    try:
        return record_of(content)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
