"""The pieces that a file is made of, counted before a library looks at each of them.

Readers take a microsecond or more, and some memory, for every block, box or chunk, however little
there is in it: a few megabytes of empty ones cost seconds. To count them takes less, and stops.
"""

import mmap
import re
from collections.abc import Iterable, Iterator
from typing import TypeVar

MAX_PIECES = 1 << 14
GIF_SIGNATURE = b"GIF8"
GIF_EXTENSION, GIF_ENDS = b"!", (b",", b";", b"")  # an image, the end of the file, nothing
# Boxes of ISO 14496-12 and of JPEG 2000 that hold boxes, and where the first of them begins
OUTER = {name: 8 for name in b"moov trak mdia minf stbl dinf edts udta mvex moof traf mfra".split()}
OUTER |= {b"ilst": 8, b"iprp": 8, b"ipco": 8, b"jp2h": 8, b"meta": 12}
JP2, CODE_STREAM = b"jP  ", b"\xff\x4f\xff\x51"  # of JPEG 2000
TILE_PART = re.compile(rb"\xff\x90\0\x0a")
Piece = TypeVar("Piece")


def counted(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The same pieces.

    Raises:
        ValueError: there are more than `MAX_PIECES`.
    """
    for number, piece in enumerate(pieces):
        if number == MAX_PIECES:
            raise ValueError(f"it is made of more than {MAX_PIECES} pieces")
        yield piece


def check_pieces(content: mmap.mmap) -> None:
    """Count the pieces of a GIF, WebP, AVIF, JPEG 2000 or MP4 file; others have none.

    Raises:
        ValueError: there are more than `MAX_PIECES`.
    """
    for _ in counted(_pieces(content)):
        pass


def _pieces(content: mmap.mmap) -> Iterator[object]:
    if content[:4] == GIF_SIGNATURE:
        yield from _gif_blocks(content)
    elif content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        yield from _riff_chunks(content)
    elif content[4:8] in (b"ftyp", JP2):
        yield from _boxes(content)
    if content[:4] == CODE_STREAM or content[4:8] == JP2:
        yield from TILE_PART.finditer(content)


def _gif_blocks(content: mmap.mmap) -> Iterator[None]:
    """Blocks before the first image, the blocks in these, and bytes that are none."""
    flags = int.from_bytes(content[10:11], "big")
    offset = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    while (kind := content[offset : offset + 1]) not in GIF_ENDS:
        offset += 1
        if kind == GIF_EXTENSION:
            offset += 1
            while length := int.from_bytes(content[offset : offset + 1], "big"):
                yield
                offset += 1 + length
            offset += 1
        yield


def _riff_chunks(content: mmap.mmap) -> Iterator[None]:
    offset = 12
    while len(head := content[offset : offset + 8]) == 8:
        yield
        length = int.from_bytes(head[4:], "little")
        offset += 8 + length + length % 2


def _boxes(content: mmap.mmap) -> Iterator[None]:
    """Boxes at any depth."""
    offset = 0
    while len(head := content[offset : offset + 16]) >= 8:
        yield
        size, name = int.from_bytes(head[:4], "big"), head[4:8]
        if size == 1:
            size = int.from_bytes(head[8:], "big")
        if name in OUTER:
            size = OUTER[name]
        elif size < 8:  # 0: to the end
            return
        offset += size
