"""BMP files in run lengths are read as Pillow reads them, which takes it very long."""

import random
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from intaglio.data.formats.image import read_image


def bmp(width, height, bits, data, palette=None):
    """In run lengths."""
    palette = bytes(4 << bits) if palette is None else palette
    head = struct.pack("<IiiHHIIIIII", 40, width, height, 1, bits, 2 if bits == 4 else 1, *[0] * 5)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + len(palette)) + head + palette + data


def run_lengths(draw, bits):
    """A BMP file of all kinds of pieces, with a palette that is grey or not."""
    width, height, data = draw.randint(1, 40), draw.randint(1, 9), b""
    for _ in range(height):
        x = 0
        while x < width:
            kind, left = draw.random(), width - x
            count = min(draw.randint(1, 30), left)
            if kind < 0.5:
                data += bytes([count, draw.randrange(256)])
            elif kind < 0.9 and count >= 3:
                size = (count + 1) // 2 if bits == 4 else count
                data += bytes([0, count]) + draw.randbytes(size) + bytes(size % 2)
            elif 0 < x:
                data += bytes([0, 2, count, 0])
            else:
                continue
            x += count
        data += b"\0\0"
    grey = b"".join(bytes([shade] * 3 + [0]) for shade in range(1 << bits))
    palette = draw.choice([grey, draw.randbytes(len(grey))])
    return bmp(width, height, bits, data + b"\0\1", palette)


def test_run_lengths_are_what_pillow_reads(tmp_path):
    draw = random.Random(0)
    for bits in (4, 8) * 40:
        data = run_lengths(draw, bits)
        (tmp_path / "a.bmp").write_bytes(data)
        with Image.open(tmp_path / "a.bmp") as image:
            expected = np.asarray(image.convert("RGB"))
        assert np.array_equal(read_image(tmp_path / "a.bmp").permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("bits", [4, 8])
def test_many_runs_of_a_row_are_what_few_are(tmp_path, bits):
    """They are expanded in another way."""
    draw, grey = random.Random(1), b"".join(bytes([n] * 3 + [0]) for n in range(1 << bits))
    runs = [bytes([draw.randint(1, 9), draw.randrange(256)]) for _ in range(600)]
    rows = b"".join(b"".join(runs[first : first + 200]) + b"\0\0" for first in (0, 200, 400))
    (tmp_path / "many.bmp").write_bytes(bmp(950, 3, bits, rows + b"\0\1", grey))
    for first in (0, 200, 400):  # a move to where one is begins a new piece
        for place in range(first + 9, first + 200, 10):
            runs[place] += b"\0\2\0\0"
    rows = b"".join(b"".join(runs[first : first + 200]) + b"\0\0" for first in (0, 200, 400))
    (tmp_path / "few.bmp").write_bytes(bmp(950, 3, bits, rows + b"\0\1", grey))
    many, few = (read_image(tmp_path / f"{name}.bmp") for name in ("many", "few"))
    assert torch.equal(many, few) and len(many.unique()) > 1


def test_runs_end_with_their_row_and_an_empty_row_is_one(tmp_path):
    grey = b"".join(bytes([shade] * 3 + [0]) for shade in range(256))
    data = b"\x09\x07" + b"\0\0" + b"\0\0" + b"\0\x03\1\2\3\0" + b"\0\0"
    (tmp_path / "a.bmp").write_bytes(bmp(2, 3, 8, data, grey))
    assert read_image(tmp_path / "a.bmp")[0].tolist() == [[1, 2], [0, 0], [7, 7]]


@pytest.mark.parametrize("data", [b"", b"\2\7", b"\2\7\0\0\1\7", b"\2\7\0\1", b"\2\7\0\0\0\4\7"])
def test_missing_pixels_are_named(tmp_path, data):
    (tmp_path / "a.bmp").write_bytes(bmp(2, 2, 8, data))
    with pytest.raises(ValueError, match=r"a\.bmp is damaged: it is truncated: 2 x 2 pixels"):
        read_image(tmp_path / "a.bmp")
