"""Pixels of a BMP file in run lengths, as an array: Pillow goes over them one by one in Python."""

import mmap
import re
from typing import Any

import numpy as np
from PIL import BmpImagePlugin, Image

RUNS = re.compile(rb"(?:[^\0].){1,4096}+", re.DOTALL)
FREE_ESCAPES = 1 << 14  # and one more for each row and each
ESCAPE_PIXELS = 6
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
    rows = np.zeros((height, width), np.uint8)
    escapes = FREE_ESCAPES + height + width * height // ESCAPE_PIXELS
    at = x = y = 0
    while y < height and at + 2 <= len(data):
        if runs := RUNS.match(data, at):
            at = runs.end()
            entries = _expanded(runs[0], width - x, four_bits)
            rows[y, x : x + len(entries)] = entries
            x += len(entries)
            continue
        escapes -= 1
        if escapes < 0:
            raise ValueError("it is made of too many pieces for its size")
        code, at = data[at + 1], at + 2
        if code == END:
            break
        if code == LINE_END:
            x, y = 0, y + 1
        elif code == MOVE:
            x, y, at = min(width, x + data[at]), y + data[at + 1], at + 2
        else:
            entries = np.frombuffer(
                data[at : at + (code + 1) // 2 if four_bits else at + code], np.uint8
            )
            at += len(entries) + len(entries) % 2
            if four_bits:
                entries = np.stack([entries >> 4, entries & 15], 1).ravel()[:code]
            entries = entries[: width - x]
            rows[y, x : x + len(entries)] = entries
            x += len(entries)
    if y < height - 1 or y == height - 1 and x < width:
        raise ValueError(f"it is truncated: {height} x {width} pixels in {len(data)} bytes")
    return rows


def _expanded(runs: bytes, room: int, four_bits: bool) -> np.ndarray:
    """Entries of runs in one row, which has room for so many."""
    lengths, values = np.frombuffer(runs, np.uint8).reshape(-1, 2).T
    ends = np.cumsum(lengths, dtype=np.int64)
    ends[ends > room] = room
    counts = np.diff(np.concatenate([[0], ends]))
    if not four_bits:
        return np.repeat(values, counts)
    odd = (np.arange(ends[-1]) - np.repeat(ends - counts, counts)) & 1
    both = np.repeat(values, counts)
    return np.where(odd, both & 15, both >> 4).astype(np.uint8)
