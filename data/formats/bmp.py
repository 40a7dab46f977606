"""Pixels of a BMP file in run lengths, as an array: Pillow goes over them one by one in Python."""

import mmap
import re
from typing import Any

import numpy as np
from PIL import BmpImagePlugin, Image

RUNS = re.compile(rb"(?:[^\0].){1,4096}+", re.DOTALL)
FREE_ESCAPES = 1 << 14  # and one more for each row and each
ESCAPE_PIXELS = 6
MOVE_COST = 40  # escapes; what skips pixels is rare
FEW_RUNS = 64  # bytes of runs that are sooner expanded one by one
NIBBLES = bytes.maketrans(b"0123456789abcdef", bytes(range(16)))
LINE_END, END, MOVE = 0, 1, 2  # behind a zero; a larger number of pixels follows as they are


def run_length_image(image: BmpImagePlugin.BmpImageFile, content: mmap.mmap) -> Image.Image | None:
    """The decoded image of a BMP file in run lengths; None of another one.

    Args:
        image: as Pillow opened it.
        content: of its file.

    Raises:
        ValueError: pixels are missing, or there are very many pieces.
    """
    tile: Any = image.tile[0]
    if tile.codec_name != "bmp_rle":
        return None
    _, four_bits, direction = tile.args
    if image.mode not in ("L", "P"):
        raise ValueError(f"run lengths of mode {image.mode}")
    width, height = image.size
    rows = _rows(content[tile.offset :], width, height, four_bits=four_bits)
    decoded = Image.fromarray(np.ascontiguousarray(rows[::direction]))
    if image.mode == "P":
        assert image.palette is not None
        mode, palette = image.palette.getdata()
        decoded.putpalette(palette, mode)
    return decoded


def _rows(data: bytes, width: int, height: int, *, four_bits: bool) -> np.ndarray:
    """Entries of the palette, uint8 [height, width], in the order of the file."""
    pixels = bytearray(width * height)
    repeated = _repeated(four_bits)
    escapes = FREE_ESCAPES + height + width * height // ESCAPE_PIXELS
    at = x = y = 0
    while y < height and at + 2 <= len(data):
        start = y * width
        if runs := RUNS.match(data, at):
            at = runs.end()
            for entries in _expanded(runs[0], width - x, repeated, four_bits):
                entries = entries[: width - x]
                pixels[start + x : start + x + len(entries)] = entries
                x += len(entries)
            continue
        code, at = data[at + 1], at + 2
        escapes -= MOVE_COST if code == MOVE else 1
        if escapes < 0:
            raise ValueError("it is made of too many pieces for its size")
        if code == END:
            break
        if code == LINE_END:
            x, y = 0, y + 1
        elif code == MOVE:
            x, y, at = min(width, x + data[at]), y + data[at + 1], at + 2
        else:
            size = (code + 1) // 2 if four_bits else code
            entries = data[at : at + size]
            at += size + size % 2
            if four_bits:
                entries = entries.hex().encode().translate(NIBBLES)[:code]
            entries = entries[: width - x]
            pixels[start + x : start + x + len(entries)] = entries
            x += len(entries)
    if y < height - 1 or y == height - 1 and x < width:
        raise ValueError(f"it is truncated: {height} x {width} pixels in {len(data)} bytes")
    return np.frombuffer(pixels, np.uint8).reshape(height, width)


def _repeated(four_bits: bool) -> list[bytes]:
    """The longest run of each value."""
    if four_bits:
        return [bytes((value >> 4, value & 15)) * 128 for value in range(256)]
    return [bytes((value,)) * 255 for value in range(256)]


def _expanded(runs: bytes, room: int, repeated: list[bytes], four_bits: bool) -> list[bytes]:
    """Entries of runs in one row, which has room for so many."""
    if len(runs) <= FEW_RUNS:
        pairs = zip(runs[::2], runs[1::2], strict=True)
        return [repeated[value][:length] for length, value in pairs]
    lengths, values = np.frombuffer(runs, np.uint8).reshape(-1, 2).T
    ends = np.cumsum(lengths, dtype=np.int64)
    ends[ends > room] = room
    counts = np.diff(np.concatenate([[0], ends]))
    both = np.repeat(values, counts)
    if four_bits:
        odd = (np.arange(ends[-1]) - np.repeat(ends - counts, counts)) & 1
        both = np.where(odd, both & 15, both >> 4).astype(np.uint8)
    return [both.tobytes()]
