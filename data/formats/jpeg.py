"""Segments of a JPEG file (ITU-T T.81) and what they may ask for, before a library decodes it.

Pillow looks at every byte before the first scan, and libjpeg goes over all pixels in every scan. A
scan that ends early is filled with grey, without a word.
"""

import mmap
import re
from collections.abc import Iterator
from typing import NamedTuple

from intaglio.data.formats.directory import check_directory
from intaglio.data.formats.pieces import counted

SIGNATURE = b"\xff\xd8\xff"
MAX_SCANS = 100  # encoders write some 10
MAX_FILL = 1 << 16  # bytes between segments
MAX_METADATA = 1 << 25  # bytes of segments before the first scan, which Pillow keeps
MAX_EXIF = 1 << 20  # bytes, which Pillow joins segment by segment
MARKER = re.compile(rb"\xff[^\0\xff]", re.DOTALL)
SCAN_END = re.compile(rb"\xff[^\0\xd0-\xd7\xff]", re.DOTALL)
ALONE = (0x01, *range(0xD0, 0xD9))  # markers with nothing behind them
END, SCAN, APP1, APP2 = 0xD9, 0xDA, 0xE1, 0xE2
# Bits of a block of 8 x 8 at least: one for its mean, and in a sequential file one for its end
LEAST_BITS = {0xC0: 2, 0xC1: 2, 0xC2: 1}
FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))


class Segment(NamedTuple):
    """Marker, position and length of the content, and how many bytes of fill are before it."""

    marker: int
    start: int
    length: int
    fill: int


def check_jpeg(content: mmap.mmap) -> None:
    """Look at all segments of a JPEG file.

    Raises:
        ValueError: there are too many segments, scans or bytes between them, or too much metadata;
            the tags of Exif ask for too much; or the scans are too short for so many pixels.
    """
    if content[:3] != SIGNATURE:
        return
    frame, fill, metadata, scans, scanned, exif = b"", 0, 0, 0, 0, bytearray()
    for marker, start, length, between in counted(_segments(content), len(content)):
        piece = content[start : start + length]
        if scans == 0:
            fill, metadata = fill + between, metadata + length
        if fill > MAX_FILL:
            raise ValueError(f"it has more than {MAX_FILL} bytes between its segments")
        if metadata > MAX_METADATA or len(exif) > MAX_EXIF:
            raise ValueError(
                f"it has more than {MAX_METADATA} bytes of metadata, or {MAX_EXIF} of Exif data"
            )
        if marker in FRAMES and not frame:
            frame = bytes((marker,)) + piece
        elif marker == APP1 and piece[:6] == b"Exif\0\0":
            exif += piece[6:]
        elif marker == APP2 and piece[:4] == b"MPF\0":
            check_directory(piece[4:])
        elif marker == SCAN:
            scans, end = scans + 1, start + length
            if frame[:1] != b"\xc2" and frame[6:7] == piece[:1]:  # nothing behind it is read
                scanned = len(content) - end
                break
            found = SCAN_END.search(content, end)
            scanned += (found.start() if found else len(content)) - end
        if scans > MAX_SCANS:
            raise ValueError(f"it has more than {MAX_SCANS} scans")
    check_directory(bytes(exif))
    _check_length(frame, scanned)


def _segments(content: mmap.mmap) -> Iterator[Segment]:
    offset, marker = 2, 0
    while found := (SCAN_END if marker == SCAN else MARKER).search(content, offset):
        fill, start, marker = found.start() - offset, found.end(), found[0][1]
        if marker == END:
            return
        alone = marker in ALONE
        length = 0 if alone else int.from_bytes(content[start : start + 2], "big")
        offset = start + length
        yield Segment(marker, start if alone else start + 2, max(0, length - 2), fill)


def _check_length(frame: bytes, scanned: int) -> None:
    """Compare the bytes of all scans with the size in the header."""
    if len(frame) < 7 or len(frame) < 7 + 3 * frame[6]:
        return  # which decoders refuse
    height, width = int.from_bytes(frame[2:4], "big"), int.from_bytes(frame[4:6], "big")
    sampled = [(byte >> 4) * (byte & 15) for byte in frame[8 : 7 + 3 * frame[6] : 3]]
    blocks = width * height * sum(sampled) // (64 * max(*sampled, 1))
    if 8 * scanned < LEAST_BITS.get(frame[0], 0) * blocks:
        raise ValueError(f"it is truncated: {scanned} bytes cannot be {height} x {width} pixels")
