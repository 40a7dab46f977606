"""Sounds in an Ogg file (RFC 3533): chained ones, and those whose end was never marked."""

import mmap
from pathlib import Path

from intaglio.data.formats.sound_span import SoundSpan, check_number

MAX_GAPS = 100  # places where pages do not follow each other
BEGIN, END = 2, 4  # flags of a page
FLAGS_AT, CHECKSUM_AT = 5, 22


def ogg_parts(path: Path, content: mmap.mmap) -> list[SoundSpan]:
    """Parts of an Ogg file; none of another file. A cut file looks like one that is shorter.

    A live recording has no page that is marked as the last one. FFmpeg reads it; libsndfile takes
    an Opus file like that for damaged, so the mark is set.

    Raises:
        ValueError: there are too many sounds, or gaps between pages.
    """
    if content[:4] != b"OggS":
        return []
    parts: list[SoundSpan] = []
    start = last = offset = 0
    headers, size, gaps = True, len(content), 0
    while 0 <= offset < size:
        end = _page_end(content, offset)
        if content[offset : offset + 5] != b"OggS\0" or end > size:
            offset, gaps = content.find(b"OggS\0", offset + 1), gaps + 1
            if gaps > MAX_GAPS:
                raise ValueError(f"{path} is damaged: its pages do not follow each other")
            continue
        begins = bool(content[offset + FLAGS_AT] & BEGIN)
        if begins and not headers:
            parts.append(SoundSpan(start, offset, _end_mark(content, last)))
            check_number(path, parts)
            start = offset
        headers, last, offset = begins, offset, end
    return [*parts, SoundSpan(start, size, _end_mark(content, last))]


def _page_end(content: mmap.mmap, offset: int) -> int:
    segments = content[offset + 26 : offset + 27]
    table = content[offset + 27 : offset + 27 + (segments[0] if segments else 0)]
    return offset + 27 + len(table) + sum(table)


def _end_mark(content: mmap.mmap, offset: int) -> tuple[tuple[int, bytes], ...]:
    """Patches that mark an intact page as the last one, if it is not."""
    page = bytearray(content[offset : _page_end(content, offset)])
    if len(page) < 27 or page[FLAGS_AT] & END:
        return ()
    stated = page[CHECKSUM_AT : CHECKSUM_AT + 4]
    page[CHECKSUM_AT : CHECKSUM_AT + 4] = bytes(4)
    if _checksum(page) != stated:
        return ()
    page[FLAGS_AT] |= END
    mark = bytes(page[FLAGS_AT : FLAGS_AT + 1])
    return ((offset + FLAGS_AT, mark), (offset + CHECKSUM_AT, _checksum(page)))


def _checksum(page: bytes | bytearray) -> bytes:
    """CRC-32 of a page whose own is zero: not reflected, and not inverted."""
    value = 0
    for byte in page:
        value = value << 8 & 0xFFFFFFFF ^ TABLE[value >> 24 ^ byte]
    return value.to_bytes(4, "little")


def _table() -> list[int]:
    table = []
    for value in range(256):
        value <<= 24
        for _ in range(8):
            value = value << 1 ^ (0x104C11DB7 if value >> 31 else 0)
        table.append(value)
    return table


TABLE = _table()
