"""Where the samples of files of chunks lie: WAV, RF64, AIFF, W64 and CAF; and those of AU.

libsndfile shortens a cut file silently. A writer that was killed leaves a size of 0, one that
cannot seek back leaves 0 or the largest number; then the samples reach to the end of the file.
"""

import itertools
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from intaglio.data.formats.sound_span import SoundSpan, check_number

STREAMED = 0x7FFF0000  # sizes of 32 bits from here up were never filled in
MAX_CHUNKS = 1000  # before the samples, and behind them
PART_BYTES = 256  # for each of many sounds end to end
W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"


class _Form(NamedTuple):
    """How chunks are written.

    Attributes:
        first: offset of the first one.
        order: of the bytes of a size.
        name: bytes of a name.
        size: bytes of a size.
        data: name of the chunk of samples.
        align: chunks begin at multiples of it.
        whole: whether a size counts the name and the size.
    """

    first: int
    order: Any
    name: int = 4
    size: int = 4
    data: bytes = b"data"
    align: int = 2
    whole: bool = False


class _Chunk(NamedTuple):
    """A chunk.

    Attributes:
        name: what it holds.
        start: offset of its content.
        length: bytes of its content, as stated.
        size_at: offset of the statement.
        size: bytes of the statement.
    """

    name: bytes
    start: int
    length: int
    size_at: int
    size: int


FORMS = {
    (b"RIFF", b"WAVE"): _Form(12, "little"),
    (b"RIFX", b"WAVE"): _Form(12, "big"),
    (b"RF64", b"WAVE"): _Form(12, "little"),
    (b"FORM", b"AIFF"): _Form(12, "big", data=b"SSND"),
    (b"FORM", b"AIFC"): _Form(12, "big", data=b"SSND"),
    (b"riff", b"\xa5\xd6\x28\xdb"): _Form(40, "little", 16, 8, W64_DATA, 8, whole=True),
    (b"caff", b"desc"): _Form(8, "big", size=8, align=1),
}


def chunk_parts(path: Path, content: mmap.mmap) -> list[SoundSpan]:
    """Parts of a file of chunks, or of an AU file; none of another file.

    Raises:
        ValueError: the file ends before its samples do, very many chunks come before them, or there
            are too many sounds.
    """
    parts: list[SoundSpan] = []
    offset, size = 0, len(content)
    if content[:4] in (b".snd", b"dns."):
        return [_of_au(path, content)]
    while form := FORMS.get((content[offset : offset + 4], content[offset + 8 : offset + 12])):
        data = _samples(path, content, form, offset)
        if data is None:
            return [*parts, SoundSpan(offset, size)]
        following = _chunks(content, form, offset, data.start + data.length)
        if data.length >= (STREAMED if data.size == 4 else 1 << 62) or (
            data.length == 0 and _end(following, data.start) != size
        ):
            return [*parts, _to_the_end(data, form, offset, size)]
        if data.start + data.length > size:
            raise ValueError(f"{path} is truncated: {size} bytes of {data.start + data.length}")
        end = size
        for number, chunk in enumerate(following, start=1):
            if chunk.name == b"RIFF":
                end = chunk.size_at - form.name
                break
            if number == MAX_CHUNKS:  # libsndfile would look at all of them
                return [*parts, SoundSpan(offset, data.start + data.length)]
        parts.append(SoundSpan(offset, end))
        check_number(path, len(parts), size, PART_BYTES)
        offset = end
    return parts


def _samples(path: Path, content: mmap.mmap, form: _Form, base: int) -> _Chunk | None:
    """The chunk of samples, if there is one."""
    large = None
    for number, chunk in enumerate(_chunks(content, form, base, base + form.first)):
        if number == MAX_CHUNKS:
            raise ValueError(f"{path} has more than {MAX_CHUNKS} chunks before its samples")
        if chunk.name == b"ds64":  # of RF64: the sizes that 32 bits cannot say
            large = chunk.start + 8
        if chunk.name == form.data:
            if large is None or chunk.length != 0xFFFFFFFF:
                return chunk
            length = int.from_bytes(content[large : large + 8], "little")
            return chunk._replace(length=length, size_at=large, size=8)
    return None


def _chunks(content: mmap.mmap, form: _Form, base: int, offset: int) -> Iterator[_Chunk]:
    """Chunks from an offset on, of a file that begins at ``base``; the content may be cut."""
    while True:
        offset += (base - offset) % form.align
        start = offset + form.name + form.size
        if start > len(content):
            return
        length = int.from_bytes(content[offset + form.name : start], form.order)
        length = max(0, length - form.name - form.size) if form.whole else length
        name = content[offset : offset + form.name]
        yield _Chunk(name, start, length, offset + form.name, form.size)
        offset = start + length


def _end(chunks: Iterator[_Chunk], offset: int) -> int:
    """Where the last of the chunks ends; ``offset`` if there is none."""
    for chunk in itertools.islice(chunks, MAX_CHUNKS):
        offset = chunk.start + chunk.length
    return offset


def _to_the_end(data: _Chunk, form: _Form, offset: int, size: int) -> SoundSpan:
    """A part whose samples reach to the end of the file."""
    length = size - data.start + (form.name + form.size if form.whole else 0)
    if length >= 1 << 8 * data.size:
        return SoundSpan(offset, size)  # libsndfile knows the largest number
    return SoundSpan(offset, size, ((data.size_at, length.to_bytes(data.size, form.order)),))


def _of_au(path: Path, content: mmap.mmap) -> SoundSpan:
    order: Any = "big" if content[:4] == b".snd" else "little"
    start, length = (int.from_bytes(content[at : at + 4], order) for at in (4, 8))
    size = len(content)
    if length < STREAMED and start + length > size:
        raise ValueError(f"{path} is truncated: {size} bytes of {start + length}")
    return SoundSpan(0, size, ((8, b"\xff\xff\xff\xff"),))  # nothing can follow the samples
