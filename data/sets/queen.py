"""Flight of the Amazon Queen: 4.5 hours of acted English speech with its text, out of a free game.

The game keeps its speech as one MP3 (11.025 kHz) for each piece of a sentence, and the sentences in
dialogue trees, cut scenes and a list of remarks, all in one archive. This reads that archive, joins
each piece with its text and its speaker, and leaves the MP3 files as they are. The text of a piece
is found by building the name of its file from the text's position; where two texts claim one file,
both are dropped.
"""

import io
import logging
import re
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import soundfile

from intaglio.data.manifest import Record
from intaglio.data.sets.base import RealSet, write_licence
from intaglio.data.sets.packages import debian_copyright, fetch_debian

PACKAGE = "flight-of-the-amazon-queen"
LICENCE = "own freeware licence"
ENCODING = "cp850"
HEADER = 20  # bytes before the content of a dialogue or a cut scene
ENTRY = struct.Struct(">12sBII")  # name, bundle, offset, size
LEVEL = 96  # bytes of a dialogue tree for each of its levels
NUM_RESPONSES = 40
FIRST_RESPONSE = "It doesn't seem to open"
NO_SPEECH = frozenset({"SPARKY"})  # muffled nonsense instead of words


class Line(NamedTuple):
    """What is said in one audio file, and who says it."""

    speaker: str
    text: str


class Archive:
    """The game's archive: named files in one blob.

    Args:
        content: bytes of ``queen.1c``.

    Raises:
        ValueError: the bytes are no such archive, or end too early.
    """

    def __init__(self, content: bytes) -> None:
        if content[:4] != b"QTBL" or len(content) < 15:
            raise ValueError("not an archive of Flight of the Amazon Queen")
        (count,) = struct.unpack_from(">H", content, 13)
        if 15 + count * ENTRY.size > len(content):
            raise ValueError(f"the archive ends within its table of {count} files")
        self._content = content
        self._places: dict[str, slice] = {}
        for name, _, offset, size in ENTRY.iter_unpack(content[15 : 15 + count * ENTRY.size]):
            if offset + size > len(content):
                raise ValueError(f"the archive ends within {name!r}")
            key = name.split(b"\0")[0].decode("latin-1")
            self._places[key] = slice(offset, offset + size)

    def names(self, suffix: str) -> list[str]:
        """Names of the files with this suffix, without it."""
        return [name.removesuffix(suffix) for name in self._places if name.endswith(suffix)]

    def __getitem__(self, name: str) -> bytes:
        return self._content[self._places[name]]


class _Script:
    """Lines by name of audio file, from all texts; names with two texts are ``doubtful``."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}
        self.doubtful: set[str] = set()

    def add(self, prefix: str, speaker: str, sentence: str) -> None:
        for number, piece in enumerate(pieces(sentence), start=1):
            text = piece.strip()
            if text:
                name = f"{prefix}{number:x}".upper().replace(" ", "0")
                if self.lines.setdefault(name, Line(speaker, text)).text != text:
                    self.doubtful.add(name)
                self.lines[name] = Line(speaker, text)


def pieces(sentence: str) -> list[str]:
    """Text of each audio file of a sentence.

    A ``*`` with the two characters after it (thirteen if they begin with ``XY``) moves a figure,
    and is where the actor's recording is cut.
    """
    return re.split(r"\*(?:XY.{0,11}|.{0,2})", sentence, flags=re.DOTALL)


def script(archive: Archive) -> dict[str, Line]:
    """Who says what in which audio file.

    Raises:
        ValueError: a text ends too early.
    """
    gathered = _Script()
    try:
        for name in archive.names(".DOG"):
            _dialogue(gathered, archive[f"{name}.DOG"][HEADER:], re.sub(r"\d+$", "", name))
        for name in archive.names(".CUT"):
            _cut_scene(gathered, archive[f"{name}.CUT"][HEADER:], name)
        _remarks(gathered, archive["QUEEN2.JAS"].decode(ENCODING).splitlines())
    except (struct.error, IndexError, KeyError) as error:
        raise ValueError(f"a text of the archive is damaged: {error}") from error
    sounds = set(archive.names(".SB")) - gathered.doubtful
    return {
        name: line
        for name, line in sorted(gathered.lines.items())
        if name in sounds and line.speaker not in NO_SPEECH
    }


def build(folder: Path) -> Iterator[Record]:
    """Write the clips into ``folder``, one record each."""
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=folder) as temporary:
        unpacked = Path(temporary)
        fetch_debian([PACKAGE], unpacked)
        rights = debian_copyright(unpacked, PACKAGE)
        write_licence(folder, LICENCE, f"the Debian package {PACKAGE}", rights)
        content = (unpacked / f"usr/share/scummvm/{PACKAGE}/queen.1c").read_bytes()
    yield from unpack(Archive(content), folder)


def unpack(archive: Archive, folder: Path) -> Iterator[Record]:
    """Write every clip whose text is known as an MP3 file, one record each."""
    for name, line in script(archive).items():
        sound = archive[f"{name}.SB"]
        try:
            samples, rate = soundfile.read(io.BytesIO(sound), dtype="float32")
        except soundfile.LibsndfileError as error:
            logging.getLogger(__name__).warning("left out %s: %s", name, error)
            continue
        path = f"{line.speaker}/{name}.mp3"
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(sound)
        yield Record(path, round(len(samples) / rate, 4), line.text, line.speaker, "en")


QUEEN = RealSet(
    name="speech-queen",
    about="acted English dialogue with text, 29 characters and cut scenes, 11 kHz",
    licence=LICENCE,
    source=f"Debian {PACKAGE}",
    items=6387,
    minutes=264.2,
    megabytes=35,
    build=build,
)


def _dialogue(gathered: _Script, tree: bytes, speaker: str) -> None:
    """A dialogue tree: Joe's sentences, those of the other, and what each says on meeting again."""
    levels, talk, num_joe, num_other = (_signed(tree, at) for at in (0, 4, 6, 8))
    joe_at = 32 + abs(levels) * LEVEL
    other_at, again_at = _number(tree, 22), _number(tree, 26)
    for at, count, mark, who in (
        (joe_at, num_joe, "J", "JOE"),
        (other_at, num_other, "P", speaker),
    ):
        for _ in range(count):
            number = _number(tree, at + 2)
            sentence, at = _string(tree, at + 4, align=4)
            gathered.add(f"{talk:2d}{number:4x}{mark}", who, sentence)
    if _number(tree, joe_at + 2) == 0:
        gathered.add(f"{talk:2d}SSSSJ", "JOE", _string(tree, joe_at + 4)[0])
    sentence, at = _string(tree, again_at)
    gathered.add(f"{talk:2d}XXXXP", speaker, sentence)
    gathered.add(f"{talk:2d}XXXXJ", "JOE", _string(tree, at)[0])


def _cut_scene(gathered: _Script, scene: bytes, name: str) -> None:
    """A cut scene: its sentences in order; the speaker is not stored."""
    count, at = abs(_signed(scene, 2)), _number(scene, 8)
    _, at = _string(scene, at)
    for number in range(1, count + 1):
        if at >= len(scene):
            break
        sentence, at = _string(scene, at)
        if sentence.strip() not in ("", "*") and not sentence.startswith("#"):
            gathered.add(f"{name:_<5.5}{number:02d}", "SCENE", sentence)


def _remarks(gathered: _Script, lines: list[str]) -> None:
    """What Joe says of things: answers to actions, and descriptions, which come first."""
    start = next((i for i, line in enumerate(lines) if line.startswith(FIRST_RESPONSE)), None)
    if start is None:
        raise ValueError("the archive's list of remarks lacks the responses")
    for number, line in enumerate(lines[start : start + NUM_RESPONSES], start=1):
        gathered.add(f"JOE{number:04d}", "JOE", line)
    for number, line in enumerate(lines[:start], start=NUM_RESPONSES + 1):
        if "*" in line or " " in line:  # single words are names of things
            gathered.add(f"JOE{number:04d}", "JOE", line)


def _string(block: bytes, at: int, align: int = 2) -> tuple[str, int]:
    """A string after its length in one byte, and the aligned offset after it."""
    length = block[at]
    at += 1
    if length == 0:
        return "", at
    end = at + length
    return block[at:end].decode(ENCODING), -(-end // align) * align


def _number(block: bytes, at: int) -> int:
    return int(struct.unpack_from(">H", block, at)[0])


def _signed(block: bytes, at: int) -> int:
    return int(struct.unpack_from(">h", block, at)[0])
