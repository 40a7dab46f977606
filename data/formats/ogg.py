"""Sounds in an Ogg file (RFC 3533): chained ones, and those whose end was never marked.

Where pages do not follow each other, a reader tries every place that looks like one, and computes
a checksum there: some megabytes of signatures take minutes. So readers get whole pages only.
"""

import mmap
import zlib
from pathlib import Path

from intaglio.data.formats.sound_span import PART_BYTES, SoundSpan, check_number

MAX_GAPS = 100  # places where pages do not follow each other
MAX_JUNK = 1 << 17  # bytes between pages, in all
MAX_EMPTY = 1 << 14  # pages with nothing in them
VORBIS = b"\x01vorbis"
VORBIS_BYTES = (
    1 << 13
)  # for each of many sounds: to set up their decoder takes most of a millisecond
BEGIN, END = 2, 4  # flags of a page
FLAGS_AT, CHECKSUM_AT, HEADER = 5, 22, 27
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def ogg_parts(path: Path, content: mmap.mmap) -> list[SoundSpan]:
    """Parts of an Ogg file; none of another file. A cut file looks like one that is shorter.

    A live recording has no page that is marked as the last one. FFmpeg reads it; libsndfile takes
    an Opus file like that for damaged, so the mark is set.

    Raises:
        ValueError: there are too many sounds, empty pages, or gaps between pages.
    """
    if content[:4] != b"OggS":
        return []
    parts: list[SoundSpan] = []
    start = last = offset = end = 0
    headers, size, gaps, junk, empty = True, len(content), 0, 0, 0
    vorbis = _vorbis(content, 0)
    while 0 <= offset < size:
        following = _page_end(content, offset)
        if following == 0:
            begin, offset, gaps = offset, content.find(b"OggS\0", offset + 1), gaps + 1
            junk += max(0, offset - begin)
            if gaps > MAX_GAPS or junk > MAX_JUNK:
                raise ValueError(f"{path} is damaged: its pages do not follow each other")
            continue
        empty += following - offset == HEADER
        if empty > MAX_EMPTY:
            raise ValueError(f"{path} has more than {MAX_EMPTY} empty pages")
        begins = bool(content[offset + FLAGS_AT] & BEGIN)
        if begins and not headers:
            parts.append(SoundSpan(start, offset, _end_mark(content, last, end)))
            check_number(path, len(parts), len(content), VORBIS_BYTES if vorbis else PART_BYTES)
            if _vorbis(content, offset) != vorbis:
                raise ValueError(
                    f"{path} holds sounds of several kinds, rates or numbers of channels end to "
                    f"end, such as number {len(parts) + 1}; split it"
                )
            start = offset
        headers, last, offset, end = begins, offset, following, following
    return [*parts, SoundSpan(start, end, _end_mark(content, last, end))] if end else []


def _vorbis(content: mmap.mmap, offset: int) -> bytes:
    """Rate and channels of the Vorbis sound that begins at a page; nothing of another one."""
    packet = offset + HEADER + content[offset + HEADER - 1 : offset + HEADER][0]
    return content[packet + 11 : packet + 16] if content[packet : packet + 7] == VORBIS else b""


def _page_end(content: mmap.mmap, offset: int) -> int:
    """Where the page at ``offset`` ends; 0 if there is none, or it is cut.

    0 also for a damaged page with what looks like pages in it, for which a reader would search it.
    """
    head = content[offset : offset + HEADER]
    if len(head) < HEADER or head[:5] != b"OggS\0":
        return 0
    body = offset + HEADER + head[-1]
    end = body + sum(content[offset + HEADER : body])
    if end > len(content):
        return 0
    page = content[offset:end]
    return 0 if page.find(b"OggS", 4) > 0 and not _intact(page) else end


def _intact(page: bytes | bytearray) -> bool:
    return _checksum(page) == page[CHECKSUM_AT : CHECKSUM_AT + 4]


def _end_mark(content: mmap.mmap, offset: int, end: int) -> tuple[tuple[int, bytes], ...]:
    """Patches that mark an intact page as the last one, if it is not."""
    page = bytearray(content[offset:end])
    if page[FLAGS_AT] & END or not _intact(page):
        return ()
    page[FLAGS_AT] |= END
    mark = bytes(page[FLAGS_AT : FLAGS_AT + 1])
    return ((offset + FLAGS_AT, mark), (offset + CHECKSUM_AT, _checksum(page)))


def _checksum(page: bytes | bytearray) -> bytes:
    """CRC-32 of a page as if its own were zero: neither reflected nor inverted, as zlib's is."""
    blank = page[:CHECKSUM_AT] + bytes(4) + page[CHECKSUM_AT + 4 :]
    value = zlib.crc32(blank.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return value.to_bytes(4, "big").translate(REVERSED)
