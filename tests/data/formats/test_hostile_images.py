"""Image files of a few kilobytes or megabytes that are made to cost a reader much."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image

SECONDS = 0.2  # of one processor, on a machine with nothing else to do
SLOWER = 4  # times, on a busy one
MEMORY = 100  # MiB above start-up

MEASURED = """
import sys, time
from pathlib import Path
from intaglio.data.formats.image import probe_image, read_image

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

for path in sys.argv[1:]:
    for read in (probe_image, read_image):
        Path("/proc/self/clear_refs").write_text("5")  # the peak is what is held now
        before, start = peak(), time.process_time()
        try:
            found = read(path)
            outcome = f"read {list(found) if read is probe_image else list(found.shape)}"
        except ValueError as error:
            outcome = f"refused {error}"
        print(peak() - before, time.process_time() - start, repr(outcome))
"""


def chunk(name, content=b""):
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def png(width, height, *before, depth=8, colour=2, interlace=0, pixels=bytes(99), behind=b""):
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    pieces = [chunk(b"IHDR", head), *before, chunk(b"IDAT", zlib.compress(pixels)), behind]
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces) + chunk(b"IEND")


def saved(kind, **options):
    file = io.BytesIO()
    Image.new("RGB", (24, 24), (9, 80, 200)).save(file, kind, **options)
    return file.getvalue()


def jpeg(width, height, **options):
    data = saved("JPEG", **options)
    place = data.index(b"\xff\xc2" if options else b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def gif(width, height, *, before=b"", frames=1, frame=(1, 1)):
    one = b"\x2c" + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x44\x01\0"
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return b"GIF89a" + screen + before + one * frames + b";"


def tiff(changes, data=b""):
    """One strip of 16 x 16 grey pixels, but for some tags: (type, number of values, value)."""
    tags = {256: (4, 1, 16), 257: (4, 1, 16), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1)}
    tags |= {273: (4, 1, 8), 277: (3, 1, 1), 278: (4, 1, 16), 279: (4, 1, 256), **changes}
    entries = [struct.pack("<HHII", tag, *value) for tag, value in sorted(tags.items())]
    head = struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data
    return head + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)


def jp2(width, height, tile, components=1):
    """A code stream of nothing but a header."""
    size = struct.pack(">HIIIIIIIIH", 0, width, height, 0, 0, tile, tile, 0, 0, components)
    size += b"\x07\1\1" * components
    style, steps = bytes([0, 0, 0, 1, 0, 5, 4, 4, 0, 0]), bytes([0x40]) + bytes(16)
    markers = ((b"\xff\x51", size), (b"\xff\x52", style), (b"\xff\x5c", steps))
    body = b"".join(name + struct.pack(">H", len(body) + 2) + body for name, body in markers)
    return b"\xff\x4f" + body + b"\xff\xd9"


def webp(width, height, frames):
    still = io.BytesIO()
    Image.new("RGB", (1, 1)).save(still, "WEBP", lossless=True)
    frame = bytes(16) + still.getvalue()[12:]
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + sides
    body += b"ANIM" + struct.pack("<I", 6) + bytes(6)
    body += (b"ANMF" + struct.pack("<I", len(frame)) + frame + bytes(len(frame) % 2)) * frames
    return b"RIFF" + struct.pack("<I", len(body)) + body


def bombs():
    """Name, whose ending is the file's, and content."""
    packed = zlib.compress(bytes(1 << 26))
    frame = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 2, 2, 0, 0, 1, 1, 0, 0))
    whole = png(2, 2, pixels=bytes(14))
    wrong = chunk(b"IDAT", zlib.compress(bytes(14))[:-1] + b"x")
    yield "wrong Adler.png", whole.replace(chunk(b"IDAT", zlib.compress(bytes(14))), wrong)
    for kind in ("ICO", "ICNS", "EPS", "PCX", "DDS", "SGI", "TIFF", "PPM", "JPEG2000", "TGA"):
        yield f"{kind}.png", saved(kind)
    for sides in ((65_535, 65_535), (65_537, 1), (1 << 31, 1), (8_193, 8_192)):
        for interlace in (0, 1):
            yield f"{sides} {interlace}.png", png(*sides, interlace=interlace)
    for name, before in ((b"zTXt", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0"), (b"iCCP", b"a\0\0")):
        yield f"{name} of 64 MiB.png", png(2, 2, chunk(name, before + packed))
        yield f"{name} of 64 MiB behind.png", png(2, 2, behind=chunk(name, before + packed))
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 20)))
    yield "60 texts of a MiB.png", png(2, 2, text * 60)
    yield "60 texts of a MiB behind.png", png(2, 2, behind=text * 60)
    for name in (b"abCd", b"IDAT", b"tEXt"):
        yield f"many {name}.png", png(2, 2, chunk(name) * 100_000)
        yield f"many {name} behind.png", png(2, 2, behind=chunk(name) * 100_000)
    count = chunk(b"acTL", struct.pack(">II", 1_000_000, 0))
    yield "a million frames.png", png(2, 2, count, behind=frame * 100_000, pixels=bytes(14))
    yield "a long chunk.png", whole[:33] + b"\xff\xff\xff\xf0tEXt"
    for sides in ((65_535, 65_535), (60_000, 60_000), (30_000, 30_000), (9_000, 8_000), (0, 0)):
        yield f"{sides}.jpg", jpeg(*sides)
        yield f"{sides} progressive.jpg", jpeg(*sides, progressive=True)
        yield f"{sides}.gif", gif(*sides)
        yield f"{sides} frame.gif", gif(2, 2, frame=sides)
        yield f"{sides}.tif", tiff({256: (4, 1, sides[0]), 257: (4, 1, sides[1])})
        yield f"{sides} tile.tif", tiff({322: (4, 1, sides[0]), 323: (4, 1, sides[1])})
        yield f"{sides}.ppm", b"P6 %d %d 255 " % sides
        yield f"{sides}.tga", struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, *sides, 24, 32)
        for tile in (1, 64):
            yield f"{sides} of {tile}.bin", jp2(*sides, tile)
    yield "tiles.bin", jp2(5_000, 5_000, 1)
    yield "components.bin", jp2(16, 16, 16, 16_384)
    for count in (0xFFFFFFFF, 1 << 30):
        for tag in (258, 270, 273, 279):
            yield f"{count} values of {tag}.tif", tiff({tag: (4, count, 8)})
    yield "components.tif", tiff({277: (3, 1, 65_535)})
    yield "a loop.tif", tiff({34_665: (4, 1, 8)})
    yield "a canvas.webp", webp(16_384, 16_384, 1)


linux = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is read from /proc"
)


@linux
def test_bombs_cost_little(tmp_path):
    (tmp_path / "0.png").write_bytes(png(2, 2, pixels=bytes(14)))
    names, paths = [], [tmp_path / "0.png"] * 2
    for name, data in bombs():
        names.append(name)
        paths.append(tmp_path / f"{len(paths)}{Path(name).suffix}")
        paths[-1].write_bytes(data)
    assert len(names) > 90
    command = [sys.executable, "-c", MEASURED, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()[4:]
    assert len(lines) == 2 * len(names)
    for number, line in enumerate(lines):
        memory, seconds, outcome = line.split(maxsplit=2)
        name = names[number // 2]
        assert float(memory) < MEMORY and float(seconds) < SLOWER * SECONDS, (name, line)
        assert "\\n" not in outcome, (name, line)
    assert sum("'refused" in line for line in lines[1::2]) > 0.8 * len(names)
