"""Hostile image files: other formats under a promised name, damage, and sizes that are claimed."""

import io
import os
import random
import re
import stat
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from intaglio.data.formats.image import probe_image, read_image
from intaglio.data.formats.open_image import IMAGE_LIMITS, SUFFIXES

ROOT = Path(__file__).parents[3]
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n%%EOF\n"
KINDS = {".jpg": "JPEG", ".tif": "TIFF", ".jp2": "JPEG2000", ".pgm": "PPM", ".pnm": "PPM"}


def smooth(side=96):
    """A gradient with noise, [side, side, 3]: what filters of PNG carry on."""
    ramp = np.linspace(0, 190, side)
    noise = np.random.default_rng(0).integers(0, 60, (side, side))
    return np.stack(np.broadcast_arrays(ramp, ramp[:, None], noise), -1).astype(np.uint8)


def file_of(pixels, kind):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def test_one_changed_byte_of_a_png_is_refused_or_changes_no_pixel(tmp_path):
    pixels, path, draw = smooth(), tmp_path / "a.png", random.Random(0)
    whole = file_of(pixels, "PNG")
    passed_by_pillow = refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] ^= draw.randrange(1, 256)
        path.write_bytes(damaged)
        try:
            found = read_image(path).permute(1, 2, 0).numpy()
        except ValueError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)
            refused += 1
        else:
            assert np.array_equal(found, pixels)
        try:
            with Image.open(io.BytesIO(damaged)) as image:
                passed_by_pillow += not np.array_equal(np.asarray(image.convert("RGB")), pixels)
        except Exception:
            continue
    assert refused == 150
    assert passed_by_pillow > 5  # without the checksums


def test_a_png_without_its_end_is_truncated(tmp_path):
    whole = file_of(smooth(), "PNG")
    for cut in (12, 11, 4, 1):
        (tmp_path / "a.png").write_bytes(whole[:-cut])
        for read in (probe_image, read_image):
            with pytest.raises(ValueError, match=r"a\.png is damaged.*truncated"):
                read(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(whole + b"appended")
    assert read_image(tmp_path / "a.png").shape == (3, 96, 96)


@pytest.mark.parametrize("kind", ["EPS", "ICO", "ICNS", "TIFF", "PPM", "TGA", "PCX", "SGI", "DDS"])
def test_no_other_format_is_opened_under_a_common_name(tmp_path, monkeypatch, kind):
    program, started = tmp_path / "gs", tmp_path / "started"
    program.write_text(f"#!/bin/sh\ntouch {started}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    data = EPS if kind == "EPS" else file_of(smooth(64), kind)
    for suffix in (".png", ".jpg", ".webp"):
        path = tmp_path / f"x{suffix}"
        path.write_bytes(data)
        for read in (probe_image, read_image):
            with pytest.raises(ValueError, match="not an image of PNG, JPEG"):
                read(path)
    assert not started.exists()


@pytest.mark.parametrize("kind", ["EPS", "ICO", "ICNS", "PCX", "SGI", "DDS", "DIB"])
def test_what_is_not_promised_is_opened_under_no_name(tmp_path, kind):
    data = EPS if kind == "EPS" else file_of(smooth(64), kind)
    for suffix in (*SUFFIXES, ".eps", ".ico", ".icns", ".bin", ""):
        path = tmp_path / f"x{suffix}"
        path.write_bytes(data)
        with pytest.raises(ValueError):
            read_image(path)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_promised_format_is_read(tmp_path, suffix):
    path = tmp_path / f"x{suffix.upper()}"
    pixels = np.full((20, 30, 3), 90, np.uint8)
    path.write_bytes(file_of(pixels, KINDS.get(suffix, suffix[1:].upper())))
    assert probe_image(path) == (20, 30)
    assert (read_image(path).int() - 90).abs().max() <= 3


def test_only_the_first_of_many_frames_is_read(tmp_path):
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in range(50, 250)]
    for suffix in (".gif", ".png", ".webp", ".tif"):
        path = tmp_path / f"x{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:])
        assert probe_image(path) == (8, 8)
        assert (read_image(path)[0].int() - 50).abs().max() <= 3


def test_pictures_are_opened_in_one_place():
    folders = ("codecs", "data", "export", "generators", "recipes")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    found = {path.name for path in files if re.search(r"\bImage\.open\(", path.read_text())}
    assert found == {"open_image.py"}


MEASURED = """
import sys, time
from pathlib import Path
from intaglio.data.formats.image import probe_image, read_image

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

read_image(sys.argv[1])
before = peak()
for path in sys.argv[2:]:
    for read in (probe_image, read_image):
        start = time.perf_counter()
        try:
            found = read(path)
            size = found if read is probe_image else found.shape[1:]
            outcome = f"read {size[0]} x {size[1]}"
        except ValueError as error:
            outcome = f"refused {error}"
        print(peak() - before, time.perf_counter() - start, outcome)
"""


def measured(paths, small):
    """What becomes of files that are first probed, then read: MiB above start-up, s, outcome."""
    Image.new("RGB", (8, 8)).save(small)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, (small, *paths))],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    return [(float(memory), float(seconds), outcome) for memory, seconds, outcome in lines]


linux = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc"
)


@linux
def test_the_size_of_a_large_png_costs_no_pixels(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (5000, 5000)).save(path)
    probed, whole = measured([path], tmp_path / "small.png")
    assert probed[2] == whole[2] == "read 5000 x 5000"
    assert probed[0] < 20 and probed[1] < 5
    assert whole[0] < 16 * 25_000_000 / (1 << 20)


@linux
def test_bombs_are_refused_at_once_in_little_memory(tmp_path):
    paths = [
        tmp_path / f"a{suffix}" for suffix in (".png", ".gif", ".webp", ".tif", ".bmp", ".jp2")
    ]
    for path in paths:
        frames = [Image.new("RGB", (16, 16), (shade, 0, 0)) for shade in (0, 90)]
        animation = (
            {"save_all": True, "append_images": frames[1:]} if path.suffix == ".webp" else {}
        )
        frames[0].save(path, **animation)
        path.write_bytes(claiming(path.read_bytes(), path.suffix, 12_000))
    outcomes = measured(paths, tmp_path / "small.png")
    assert len(outcomes) == 2 * len(paths)
    for number, (memory, seconds, outcome) in enumerate(outcomes):
        path = paths[number // 2]
        assert outcome.startswith(f"refused {path} has 12000 x 12000 pixels"), outcome
        assert memory < 100 and seconds < 5


def test_a_size_inside_jpeg_2000_that_is_not_the_headers_is_damage(tmp_path):
    path = tmp_path / "a.jp2"
    Image.new("RGB", (16, 16)).save(path)
    path.write_bytes(claiming(path.read_bytes(), "inside", 12_000))
    with pytest.raises(ValueError, match="damaged"):
        read_image(path)


def claiming(data, suffix, side):
    """A small file of one format whose header claims ``side`` x ``side`` pixels."""
    if suffix == ".png":
        head = b"IHDR" + struct.pack(">II", side, side) + data[24:29]
        return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]
    if suffix == ".gif":
        return data[:6] + struct.pack("<HH", side, side) + data[10:]
    if suffix == ".bmp":
        return data[:18] + struct.pack("<ii", side, side) + data[26:]
    if suffix == ".webp":
        canvas = struct.pack("<I", side - 1)[:3]
        return data[:24] + 2 * canvas + data[30:]  # frames may be smaller than an animation
    if suffix == ".tif":
        for tag in (256, 257):
            at = data.index(struct.pack("<HHI", tag, 4, 1))
            data = data[: at + 8] + struct.pack("<I", side) + data[at + 12 :]
        return data
    if suffix == ".jp2":
        at = data.index(b"ihdr") + 4
        data = data[:at] + struct.pack(">II", side, side) + data[at + 8 :]
    at = data.index(b"\xff\x4f\xff\x51") + 8
    inside = struct.pack(">IIIIIIII", side, side, 0, 0, side, side, 0, 0)
    return data[:at] + inside + data[at + 32 :]


def test_memory_is_limited_by_the_format(tmp_path):
    for suffix, bytes_of_a_pixel in ((".png", 16), (".webp", 24), (".jp2", 40)):
        path = tmp_path / f"a{suffix}"
        Image.new("RGB", (100, 100)).save(path)
        enough = IMAGE_LIMITS._replace(max_memory=10_000 * bytes_of_a_pixel)
        assert read_image(path, limits=enough).shape == (3, 100, 100)
        with pytest.raises(ValueError, match=r"100 x 100 pixels; to read them as"):
            read_image(path, limits=enough._replace(max_memory=enough.max_memory - 1))
