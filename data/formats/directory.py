"""Directories of tags, in a TIFF file and in the Exif data of others: what they may ask for.

Readers copy the value of every tag, and values may overlap: some kilobytes ask for gigabytes.
"""

import mmap
import re
from typing import Any

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
EXIF = b"Exif\0\0"
IN_AVIF = re.compile(rb"(?:\0\0\0\0|Exif\0\0)(?=II\*\0|MM\0\*)")  # behind an offset of 0, or a mark
MAX_EXIF = 16  # pieces of Exif data in an AVIF file
MAX_TAGS = 4096
MAX_NUMBERS = 1 << 16  # as which values are read, but for text and bytes
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
SIZES |= {16: 8, 17: 8, 18: 8}  # types of BigTIFF
BYTES = (1, 2, 6, 7)
FRACTION = {5: 4, 10: 4}  # how much longer it takes to read one than a number
FURTHER = (34_665, 34_853, 40_965)  # directories of Exif, of the place and of compatibility


def check_directory(content: mmap.mmap | bytes, start: int = 0) -> None:
    """Look at the first directory and at those for which it has tags, if there is one.

    Args:
        content: of a file, or of a part of it.
        start: from where on offsets count.

    Raises:
        ValueError: there are too many tags or numbers, or the values together are longer than the
            content.
    """
    while content[start : start + 6] == EXIF:
        start += 6
    signature = content[start : start + 4]
    if signature not in SIGNATURES:
        return
    order: Any = "little" if signature[:1] == b"I" else "big"
    wide = b"+" in signature
    size = 8 if wide else 4  # of numbers and offsets

    def number(at: int, length: int) -> int:
        return int.from_bytes(content[start + at : start + at + length], order)

    tags = total = numbers = 0
    waiting = [number(8, 8) if wide else number(4, 4)]
    while waiting:
        offset = waiting.pop()
        count = number(offset, 8 if wide else 2)
        tags += count
        if tags > MAX_TAGS:
            raise ValueError(f"it has {tags} tags; the limit is {MAX_TAGS}")
        offset += 8 if wide else 2
        for at in range(offset, offset + count * (4 + 2 * size), 4 + 2 * size):
            kind, values = number(at + 2, 2), number(at + 4, size)
            length = SIZES.get(kind, 0) * values
            if length > size:
                total += length
                numbers += 0 if kind in BYTES else values * FRACTION.get(kind, 1)
            if number(at, 2) in FURTHER:
                waiting.append(number(at + 4 + size, min(SIZES.get(kind, 0), size)))
    if total > len(content):
        raise ValueError(f"its tags have {total} bytes of values, in {len(content)} bytes")
    if numbers > MAX_NUMBERS:
        raise ValueError(f"its tags have {numbers} numbers; the limit is {MAX_NUMBERS}")


def check_avif(content: mmap.mmap) -> None:
    """Look at what may be Exif data, wherever it is in an AVIF file.

    Raises:
        ValueError: as `check_directory`; or there is too much of it.
    """
    if content[4:8] != b"ftyp":
        return
    for number, place in enumerate(IN_AVIF.finditer(content)):
        if number == MAX_EXIF:
            raise ValueError(f"it has more than {MAX_EXIF} pieces of Exif data")
        check_directory(content, place.end())
