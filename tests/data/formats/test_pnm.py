"""PNM files are read as Pillow reads them; what is wrong in them is named."""

import random
import struct

import numpy as np
import pytest
from PIL import Image

from intaglio.data.formats import pnm
from intaglio.data.formats.image import read_image


def numbers(draw, kind):
    """A PNM file of one kind, with a comment and several spaces in its header."""
    width, height, bits = draw.randint(1, 20), draw.randint(1, 9), kind in (1, 4)
    count = width * height * (3 if kind in (3, 6) else 1)
    largest = draw.choice([1, 100, 254, 255, 256, 4095, 65_535] if kind in (3, 6) else [1, 99, 255])
    space = draw.choice([b" ", b"\n", b"\t ", b"\r\n", b" # a 1\n"])
    head = b"P%d\n# 9 9 9\n%d%s%d" % (kind, width, space, height)
    head += b"\n" if bits else b" %d\n" % largest
    if kind == 1:
        return head + draw.choice([b"", b" "]).join(draw.choice([b"0", b"1"]) for _ in range(count))
    if kind == 4:
        return head + draw.randbytes(-(-width // 8) * height)
    if kind in (2, 3):
        between = draw.choice([b" ", b"\n\t"])
        return head + between.join(b"%d" % draw.randint(0, largest) for _ in range(count))
    return head + draw.randbytes(count * (1 if largest < 256 else 2))


def test_numbers_are_what_pillow_reads(tmp_path):
    draw = random.Random(0)
    for kind in (1, 2, 3, 4, 5, 6) * 40:
        data = numbers(draw, kind)
        (tmp_path / "a.ppm").write_bytes(data)
        with Image.open(tmp_path / "a.ppm") as image:
            expected = np.asarray(image.convert("RGB"))
        assert np.array_equal(read_image(tmp_path / "a.ppm").permute(1, 2, 0).numpy(), expected)


def test_text_of_several_blocks_with_comments(tmp_path, monkeypatch):
    monkeypatch.setattr(pnm, "BLOCK", 7)
    text = b"P2 5 4 255\n" + b"\n".join(b"%d #9" % value for value in range(100, 120)) + b"\nend"
    (tmp_path / "a.pgm").write_bytes(text)
    assert read_image(tmp_path / "a.pgm")[0].flatten().tolist() == list(range(100, 120))


def test_grey_of_sixteen_bits_is_read_as_eight(tmp_path):
    for name, data in {
        "text.pgm": b"P2 3 1 4095 0 2048 4095",
        "binary.pgm": b"P5 3 1 4095 " + struct.pack(">HHH", 0, 2048, 4095),
        "largest.pgm": b"P5 3 1 65535 " + struct.pack(">HHH", 0, 32_896, 65_535),
    }.items():
        (tmp_path / name).write_bytes(data)
        assert read_image(tmp_path / name)[0].tolist() == [[0, 128, 255]], name


def test_wrong_numbers_are_damage(tmp_path):
    for data, reason in (
        (b"P2 2 1 99 98 100", "a value is 100, the largest 99"),
        (b"P2 2 1 99 98 -1 1", "b'-' is where a number should be"),
        (b"P1 4 1 01 21", "a value is 2, the largest 1"),
        (b"P3 1 1 255 1 2 " + b"0" * 2_000 + b"1", "more than 1024 digits"),
        (b"P2 2 1 0 0 0", "its largest value is 0"),
        (b"P2 2 1 65536 0 0", "its largest value is 65536"),
        (b"P2 2 1 255", "1 x 2 pixels in 10 bytes"),
        (b"P2 2 x 255 1 1", "or damaged"),
    ):
        (tmp_path / "a.pnm").write_bytes(data)
        with pytest.raises(ValueError, match=rf"a\.pnm is damaged: .*{reason}"):
            read_image(tmp_path / "a.pnm")
