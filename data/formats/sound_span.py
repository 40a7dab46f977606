"""A sound within a file, as libsndfile reads it whole.

A file may hold several sounds end to end, as chunked speech services and ``cat`` write them; and a
writer that died, or wrote to a pipe, leaves sizes that were never filled in. libsndfile reads the
first sound only, and believes the sizes. So a file is divided, with the right sizes put in.
"""

import mmap
from pathlib import Path
from typing import NamedTuple

MAX_TAGS = 16  # ID3 tags one after the other
MAX_PARTS = 10_000
FREE_PARTS = 256  # and one more for each PART_BYTES of the file
PART_BYTES = 1024


class SoundSpan(NamedTuple):
    """Bytes of a file that hold one sound.

    Attributes:
        start: the first.
        end: one after the last.
        patches: bytes to read in place of those of the file, with their offsets in the file.
    """

    start: int
    end: int
    patches: tuple[tuple[int, bytes], ...] = ()


def after_tags(path: Path, content: mmap.mmap, offset: int = 0) -> int:
    """Offset of what follows the ID3 tags at ``offset``.

    Raises:
        ValueError: there are too many of them.
    """
    for _ in range(MAX_TAGS):
        if content[offset : offset + 3] != b"ID3":
            return offset
        size = 0
        for byte in content[offset + 6 : offset + 10]:
            size = size << 7 | byte & 127
        offset += 10 + size
    raise ValueError(f"{path} has more than {MAX_TAGS} ID3 tags one after the other")


def check_number(path: Path, parts: int, size: int, part_bytes: int = PART_BYTES) -> None:
    """Raise ValueError if there are too many sounds in a file of ``size`` bytes."""
    most = min(MAX_PARTS, FREE_PARTS + size // part_bytes)
    if parts > most:
        raise ValueError(f"{path} holds more than {most} sounds end to end; split it")
