"""The pieces that a file is made of, counted before a library looks at each of them.

Readers take a microsecond or more, and some memory, for every block, box or chunk, however little
there is in it: a few megabytes of empty ones cost seconds. To count them takes less, and stops.
"""

import mmap
import re
from collections.abc import Iterable, Iterator
from typing import TypeVar

MAX_PIECES = 1 << 14  # and one more for each PIECE_BYTES of the file
PIECE_BYTES = 256
GIF_SIGNATURE = b"GIF8"
GIF_EXTENSION, GIF_ENDS = b"!", (b",", b";", b"")  # an image, the end of the file, nothing
# Boxes of ISO 14496-12 and of JPEG 2000 that hold boxes, and where the first of them begins
INNER = dict.fromkeys(
    b"moov trak mdia minf stbl dinf edts udta mvex moof traf mfra tref sinf wave ilst iprp ipco "
    b"jp2h".split(),
    8,
)
INNER[b"keys"] = 16
JP2, CODE_STREAM = b"jP  ", b"\xff\x4f\xff\x51"  # of JPEG 2000
TILE_PART = re.compile(rb"\xff\x90\0\x0a")
EBML = b"\x1a\x45\xdf\xa3"
# Elements of Matroska (RFC 9559) that hold elements, but for clusters: a segment, tags, cues,
# chapters, attachments, tracks, positions
MASTERS = frozenset(
    map(
        bytes.fromhex,
        "18538067 1254c367 7373 67c8 63c0 1c53bb6b bb b7 1043a770 45b9 b6 80 1941a469 61a7 "
        "1654ae6b ae e0 e1 6d80 6240 5034 114d9b74 4dbb".split(),
    )
)
CLUSTER = b"\x1f\x43\xb6\x75"
Piece = TypeVar("Piece")


def counted(pieces: Iterable[Piece], size: int) -> Iterator[Piece]:
    """The same pieces.

    Args:
        pieces: of a file.
        size: bytes of the file.

    Raises:
        ValueError: there are too many.
    """
    most = MAX_PIECES + size // PIECE_BYTES
    for number, piece in enumerate(pieces):
        if number == most:
            raise ValueError(f"it is made of more than {most} pieces")
        yield piece


def check_pieces(content: mmap.mmap, *, boxes: bool = False) -> None:
    """Count the pieces of a GIF, WebP, AVIF, JPEG 2000, MP4 or Matroska file.

    Args:
        content: of the file.
        boxes: whether another file is taken for boxes, as FFmpeg does.

    Raises:
        ValueError: there are too many.
    """
    for _ in counted(_pieces(content, boxes), len(content)):
        pass


def _pieces(content: mmap.mmap, boxes: bool) -> Iterator[object]:
    if content[:4] == GIF_SIGNATURE:
        yield from _gif_blocks(content)
    elif content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        yield from _riff_chunks(content)
    elif content[:4] == EBML:
        yield from _elements(content)
    elif boxes or content[4:8] in (b"ftyp", JP2):
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
        if name in INNER:
            size = INNER[name]
        elif name == b"meta":  # of QuickTime, without a version; or of ISO 14496-12
            size = 8 if content[offset + 12 : offset + 16] == b"hdlr" else 12
        elif size < 8:  # 0: to the end
            return
        offset += size


def _elements(content: mmap.mmap) -> Iterator[None]:
    """Elements of Matroska at any depth, up to a cluster of unknown size."""
    offset = 0
    while len(head := content[offset : offset + 12]) >= 2 and head[0]:
        yield
        name = head[: 9 - head[0].bit_length()]
        field = head[len(name) :]
        width = 9 - field[0].bit_length() if field and field[0] else 9
        size = int.from_bytes(field[:width], "big") & (1 << 7 * width) - 1
        unknown = size == (1 << 7 * width) - 1
        if width > 8 or name == CLUSTER and unknown:
            return
        offset += len(name) + width + (0 if name in MASTERS else size)
