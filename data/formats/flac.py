"""Sounds in a FLAC file (RFC 9639): several end to end, and a number of samples that is wrong.

The number in the header is compared with that of the last frame. An encoder that writes to a pipe
leaves 0 there.
"""

import mmap
import re
from pathlib import Path

from intaglio.data.formats.sound_span import SoundSpan, after_tags, check_number

HEADER = 42  # bytes of the mark and of the first block of metadata, which says how the sound is
MARK = re.compile(rb"fLaC[\0\x80]\0\0\x22(..)(..)", re.DOTALL)  # with the sizes of a block
MIN_BLOCK = 16  # samples
BLOCK_SIZES = {1: 192, 2: 576, 3: 1152, 4: 2304, 5: 4608}
MIN_FRAME = 10  # bytes: a header, a constant and two checksums
MAX_FRAME = 1 << 20  # bytes that are searched for the last frame
MAX_TRIES = 3  # frames are searched backwards; what looks like one may be other bytes
MAX_MARKS = 256  # of frames that are looked at
MAX_BLOCKS = 1000  # of metadata


def flac_parts(path: Path, content: mmap.mmap) -> list[SoundSpan]:
    """Parts of a FLAC file; none of another file.

    Raises:
        ValueError: more samples than stated, but not to the end of a frame.
    """
    start = after_tags(path, content)
    if content[start : start + 4] != b"fLaC":
        return []
    starts = [start]
    for mark in MARK.finditer(content, start + HEADER):
        blocks = int.from_bytes(mark[1], "big"), int.from_bytes(mark[2], "big")
        if MIN_BLOCK <= blocks[0] <= blocks[1]:
            starts.append(mark.start())
            check_number(path, len(starts), len(content))
    ends = [*starts[1:], len(content)]
    patches = [_right_total(path, content, *pair) for pair in zip(starts, ends, strict=True)]
    return list(map(SoundSpan, [0, *starts[1:]], ends, patches))


def _right_total(
    path: Path, content: mmap.mmap, start: int, end: int
) -> tuple[tuple[int, bytes], ...]:
    """Patches with the number of samples, if the stated one is wrong."""
    if content[end - 128 : end - 125] == b"TAG":
        end -= 128
    block = int.from_bytes(content[start + 10 : start + 12], "big")
    fields = int.from_bytes(content[start + 18 : start + 26], "big")
    stated = fields & (1 << 36) - 1
    first = _first_frame(content, start)
    sync = content[first : first + 2]
    if sync not in (b"\xff\xf8", b"\xff\xf9"):
        return ()
    tries, more, offset = MAX_TRIES, False, end
    for _ in range(MAX_MARKS):
        offset = content.rfind(sync, max(first, end - MAX_FRAME), offset)
        samples = _frame(content[offset : offset + 16], block) if offset >= 0 else None
        if offset < 0 or tries == 0:
            break
        if samples is None:
            continue
        begin, total = samples
        if total == stated:
            return ()
        if total < 1 << 36 and _crc(content[offset:end], CRC_16) == 0:
            fields = fields >> 36 << 36 | total
            return ((start + 18, fields.to_bytes(8, "big")),)
        tries, more = tries - 1, more or begin >= stated
    if more:
        raise ValueError(f"{path} is damaged: not {stated} samples, and cut within a frame")
    return ()


def _first_frame(content: mmap.mmap, start: int) -> int:
    """Offset of what follows the metadata."""
    offset = start + 4
    for _ in range(MAX_BLOCKS):
        head = content[offset : offset + 4]
        offset += 4 + int.from_bytes(head[1:], "big")
        if len(head) < 4 or head[0] & 0x80:
            break
    return offset


def _frame(head: bytes, block: int) -> tuple[int, int] | None:
    """Numbers of the first sample of a frame and of the first after it, if it is a frame."""
    if len(head) < MIN_FRAME or head[3] & 1:
        return None
    extra = 0 if head[4] < 0x80 else 7 - (head[4] ^ 0xFF).bit_length()
    number = head[4] if head[4] < 0x80 else head[4] & (0x3F >> extra)
    if extra == 0 and head[4] >= 0x80 or extra > 6:
        return None
    for byte in head[5 : 5 + extra]:
        number = number << 6 | byte & 0x3F
    at, code = 5 + extra, head[2] >> 4
    if code in (6, 7):
        samples = int.from_bytes(head[at : at + code - 5], "big") + 1
        at += code - 5
    else:
        samples = BLOCK_SIZES.get(code, 256 << code - 8 if code >= 8 else 0)
    at += {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    if samples == 0 or _crc(head[: at + 1], CRC_8) != 0:
        return None
    begin = number if head[1] & 1 else number * block
    return begin, begin + samples


def _crc(content: bytes, table: list[int]) -> int:
    """0 for bytes with their CRC, of 8 or 16 bits, behind them."""
    high, mask = (8, 0xFFFF) if table is CRC_16 else (0, 0xFF)
    value = 0
    for byte in content:
        value = value << 8 & mask ^ table[value >> high ^ byte]
    return value


def _table(bits: int, polynomial: int) -> list[int]:
    table = []
    for value in range(256):
        value <<= bits - 8
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> bits - 1 else 0)
        table.append(value)
    return table


CRC_8, CRC_16 = _table(8, 0x107), _table(16, 0x18005)
