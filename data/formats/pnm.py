"""PNM files (Netpbm): the header, and the pixels as arrays.

Pillow reads the header byte by byte, and text and values of most ranges number by number in Python,
before it knows whether the file is long enough. Here numbers are counted first.
"""

import mmap
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

SIGNATURE = re.compile(rb"P[0-6fy]")
MAX_HEADER = 1 << 16  # bytes
MAX_COMMENTS = 256
COMMENT = re.compile(rb"#[^\r\n]*")
SPACE = rb"(?:\s|#[^\r\n]*[\r\n])*+"
# One space is behind the header, and a comment may be before it
END = rb"(?:#[^\r\n]*[\r\n])*+(?:\s|\Z)"
HEADER = re.compile(rb"P([1-6])\s" + SPACE + rb"(\d{1,10})\s" + SPACE + rb"(\d{1,10})" + END)
LARGEST = re.compile(SPACE + rb"(\d{1,5})" + END)
FLOATS = re.compile(rb"Pf\s" + 3 * (SPACE + rb"[^\s#]{1,10}" + END))
BITS, TEXT, COLOURED = (b"1", b"4"), (b"1", b"2", b"3"), (b"3", b"6")
SPACES = b" \t\n\r\v\f"
NEITHER = re.compile(rb"[^\d\s]")
BLOCK = 1 << 20  # bytes or numbers at once
MAX_DIGITS = 1 << 10


class _Header(NamedTuple):
    """The digit of the kind, the sides, the largest value, and where the pixels begin."""

    kind: bytes
    width: int
    height: int
    largest: int
    start: int

    @property
    def values(self) -> int:
        return self.width * self.height * (3 if self.kind in COLOURED else 1)


def check_pnm(content: mmap.mmap) -> None:
    """Look at the header, the length and the comments of a PNM file; other files have none.

    Raises:
        ValueError: the header is damaged or too long, there are too many comments, or the file is
            too short for its pixels.
    """
    if SIGNATURE.match(content) is None or (header := _header(content)) is None:
        return
    if header.kind in TEXT:
        found = 0
        for block in _texts(content, header):
            found += len(block) if header.kind in BITS else _count(block)
            if found >= header.values:
                return
    elif len(content) - header.start >= _size(header):
        return
    raise ValueError(
        f"it is truncated: {header.height} x {header.width} pixels in {len(content)} bytes"
    )


def pnm_pixels(content: mmap.mmap) -> np.ndarray | None:
    """Pixels of a PNM file that was checked; None of floating-point numbers.

    Returns:
        uint8 [height, width] or, of colours, [height, width, 3]; 255 is the file's largest value.

    Raises:
        ValueError: what is between the numbers of a text is none, or larger than the largest value.
    """
    header = _header(content)
    if header is None:
        return None
    kind, width, height, largest, start = header
    shape = (height, width, 3) if kind in COLOURED else (height, width)
    if kind == b"4":
        rows = np.frombuffer(content, np.uint8, _size(header), start).reshape(height, -1)
        return 255 - 255 * np.unpackbits(rows, axis=1)[:, :width]
    shades = np.full(1 << 16, 255, np.uint8)  # also of what is larger than it may be
    shades[:largest] = (np.arange(largest) / largest * 255).round()
    if kind in BITS:
        shades = 255 - shades
    pixels, done = np.empty(header.values, np.uint8), 0
    for numbers in _numbers(content, header):
        numbers = numbers[: len(pixels) - done]
        pixels[done : done + len(numbers)] = shades[numbers]
        done += len(numbers)
        if done == len(pixels):
            break
    return pixels.reshape(shape)


def _header(content: mmap.mmap) -> _Header | None:
    """None of a file of floating-point numbers."""
    head = content[:MAX_HEADER]
    if FLOATS.match(head):
        return None
    found = HEADER.match(head)
    bits = found is not None and found[1] in BITS
    last = found if bits or found is None else LARGEST.match(head, found.end())
    if found is None or last is None:
        raise ValueError(f"its header is longer than {MAX_HEADER} bytes, or damaged")
    largest = 1 if bits else int(last[1])
    if not 1 <= largest < 1 << 16:
        raise ValueError(f"its largest value is {largest}, not from 1 to 65535")
    return _Header(found[1], int(found[2]), int(found[3]), largest, last.end())


def _size(header: _Header) -> int:
    """Bytes of pixels that are not text."""
    if header.kind in BITS:
        return -(-header.width // 8) * header.height
    return header.values * (1 if header.largest < 256 else 2)


def _numbers(content: mmap.mmap, header: _Header) -> Iterator[np.ndarray]:
    """All numbers of a file, and what may follow them."""
    if header.kind not in TEXT:
        kind = np.uint8 if header.largest < 256 else np.dtype(">u2")
        numbers = np.frombuffer(content, kind, header.values, header.start)
        yield from (numbers[at : at + BLOCK] for at in range(0, len(numbers), BLOCK))
        return
    for block in _texts(content, header):
        other = NEITHER.search(block)
        text = block[: other.start()] if other else block
        if header.kind in BITS:
            numbers = np.frombuffer(text, np.uint8) - np.uint8(ord("0"))
        else:
            numbers = np.fromstring(text, np.int64, sep=" ") if text.strip() else np.empty(0, int)
        if len(numbers):
            if numbers.max() > header.largest:
                raise ValueError(f"a value is {numbers.max()}, the largest {header.largest}")
            yield numbers
        if other:
            raise ValueError(f"{other[0]!r} is where a number should be")


def _texts(content: mmap.mmap, header: _Header) -> Iterator[bytes]:
    """Blocks of text without comments, that divide no number; of bits, without spaces."""
    start, comments = header.start, COMMENT.finditer(content, header.start)
    for _ in range(MAX_COMMENTS + 1):
        comment = next(comments, None)
        end, rest = len(content) if comment is None else comment.start(), b""
        for at in range(start, end, BLOCK):
            block = rest + content[at : min(end, at + BLOCK)]
            if header.kind in BITS:
                yield block.translate(None, SPACES)
                continue
            cut = 1 + max(block.rfind(space) for space in SPACES)
            rest = block[cut:]
            if len(rest) > MAX_DIGITS:
                raise ValueError(f"a number has more than {MAX_DIGITS} digits")
            yield block[:cut]
        yield rest
        if comment is None:
            return
        start = comment.end()
    raise ValueError(f"it has more than {MAX_COMMENTS} comments")


def _count(text: bytes) -> int:
    """How many numbers there are."""
    inside = np.frombuffer(text, np.uint8) > ord(" ")
    return int(np.count_nonzero(inside[1:] & ~inside[:-1])) + int(inside[:1].sum())
