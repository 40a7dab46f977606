"""Image files of a few kilobytes or megabytes that are made to cost a reader much."""

import io
import itertools
import re
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from intaglio.data.formats.image import probe_image, read_image

SLOWER = 4  # times, on a busy machine


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


def bmp(width, height, bits, data, palette=None):
    """In run lengths."""
    palette = bytes(4 << bits) if palette is None else palette
    head = struct.pack("<IiiHHIIIIII", 40, width, height, 1, bits, 2 if bits == 4 else 1, *[0] * 5)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + len(palette)) + head + palette + data


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
    yield "tiles of two sides.tif", tiff({322: (3, 2, 65_537), 323: (3, 2, 65_537)}, bytes(256))
    yield "a canvas.webp", webp(16_384, 16_384, 1)
    yield "floats.pnm", b"Pf 1000 1000 -1.0 " + bytes(4_000_000)
    for name, piece in {
        "nothing": b"",
        "rows": b"\1\2\0\0" * 1_999,
        "runs": (b"\xff\2" * 31 + b"\0\0") * 1_999,
        "pixels behind the row": b"\1\2" * 1_000_000,
        "moves": b"\0\2\1\0" * 1_000_000,
        "no moves": b"\0\2\0\0" * 1_000_000,
        "few pixels": b"\0\3ab" * 100_000,
        "runs and moves": b"\1\2\0\2\0\0" * 100_000,
    }.items():
        for bits in (4, 8):
            yield f"{name} in {bits} bits.bmp", bmp(2_000, 2_000, bits, piece)


def exif(tags, kind=1, values=1, data=b""):
    """Exif data of equal tags, whose values all lie in the same place."""
    entries = struct.pack("<HHII", 0x9286, kind, values, 8) * tags
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", tags) + entries + bytes(4) + data


def scans(count):
    """A progressive JPEG file that goes over its pixels again and again."""
    data = saved("JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def floods(many=20_000):
    """Name, whose ending is the file's, content, and the reason to refuse it."""
    pieces, base = r"more than \d+ pieces", saved("JPEG")
    segment = b"\xff\xe1\0\x02"
    yield "segments.jpg", base[:2] + segment * many + base[2:], pieces
    yield "fill.jpg", base[:2] + b"\xff" * 4 * many + base[2:], "65536 bytes between"
    yield "garbage.jpg", base[:20] + bytes(4 * many) + base[20:], "65536 bytes between"
    icc = b"\xff\xe2" + struct.pack(">H", 65_535) + bytes(65_533)
    yield "metadata.jpg", base[:2] + icc * 520 + base[2:], "33554432 bytes of metadata"
    more = b"\xff\xe1" + struct.pack(">H", 60_000) + b"Exif\0\0".ljust(59_998, b"\0")
    yield "Exif pieces.jpg", base[:2] + more * 20 + base[2:], "1048576 of Exif"
    yield "scans.jpg", scans(many // 100), "more than 100 scans"
    yield "truncated.jpg", jpeg(2_000, 2_000), "cannot be 2000 x 2000 pixels"
    yield "truncated scans.jpg", jpeg(2_000, 2_000, progressive=True), "cannot be 2000 x 2000"
    mpf = b"MPF\0" + exif(3, 7, 1 << 24)[6:]
    mpf = b"\xff\xe2" + struct.pack(">H", len(mpf) + 2) + mpf
    yield "MPF.jpg", base[:2] + mpf + base[2:], "bytes of values"
    for kind in ("JPEG", "PNG", "WEBP", "AVIF"):
        yield f"tags.{kind.lower()}", saved(kind, exif=exif(5_000)), "5000 tags"
        longer = saved(kind, exif=exif(4_000, values=1_000))
        yield f"values.{kind.lower()}", longer, "bytes of values"
    yield "comments.gif", gif(2, 2, before=b"\x21\xfe\x01x\0" * many), pieces
    yield "a long comment.gif", gif(2, 2, before=b"\x21\xfe" + b"\1x" * many + b"\0"), pieces
    loop = b"\x21\xff\x0bNETSCAPE2.0\x03\1\0\0\0"
    yield "applications.gif", gif(2, 2, before=loop * many), pieces
    yield "zeros.gif", gif(2, 2, before=bytes(many)), pieces
    yield "frames.webp", webp(2, 2, many), pieces
    still = saved("WEBP", lossless=True)
    yield "chunks.webp", still[:12] + b"abcd\0\0\0\0" * many + still[12:], pieces
    box = struct.pack(">I4s", 8, b"free")
    for kind in ("AVIF", "JPEG2000"):
        whole = saved(kind)
        yield f"boxes.{kind.lower()}", whole[:32] + box * many + whole[32:], pieces
    part = b"\xff\x90\0\x0a" + bytes(8) + b"\xff\x93"
    yield "tile parts.j2k", jp2(255, 255, 1)[:-2] + part * many, pieces
    yield "comment.ppm", b"P6 #" + b"x" * 4 * many + b"\n1 1 255 abc", "header is longer"
    yield "spaces.ppm", b"P6 " + b" " * 4 * many + b"1 1 255 abc", "header is longer"
    yield "spaces.pgm", b"Pf 1 1 " + b" " * 4 * many + b"1.0 ", "header is longer"
    yield "comments.ppm", b"P3 9 9 255 " + b"#\n" * many, "more than 256 comments"
    yield "text.pgm", b"P2 2000 2000 4095 " + b"1 " * 9 * many, "2000 x 2000 pixels in .* bytes"
    yield "spaces.pnm", b"P3 9 999 255 1" + b" " * 40 * many, "999 x 9 pixels in .* bytes"
    yield "bits.pnm", b"P1 8000 8000 " + b"1" * 40 * many, "8000 x 8000 pixels in .* bytes"
    yield "twelve bits.ppm", b"P6 2000 9000 4095 " + b"1" * 40 * many, "9000 x 2000 pixels in"
    offsets = struct.pack("<40000I", *[8] * 40_000)
    strips = {273: (4, 40_000, 8), 279: (4, 40_000, 8), 257: (4, 1, 40_000), 278: (4, 1, 1)}
    yield "strips.tif", tiff(strips, offsets * 2), "80000 numbers"
    yield (
        "texts.tif",
        tiff({60_000 + tag: (2, 1000, 8) for tag in range(99)}, bytes(1000)),
        "values",
    )
    yield "fractions.tif", tiff({60_000: (5, 20_000, 8)}, bytes(160_000)), "80000 numbers"
    avif = saved("AVIF")
    place = avif.index(b"ispe") + 8
    for name, data in {
        "png": png(4_000, 4_000),
        "gif": gif(4_000, 4_000),
        "bmp": b"BM" + struct.pack("<IHHIIiiHH", 0, 0, 0, 54, 40, 4_000, 4_000, 1, 24) + bytes(99),
        "tif": tiff({256: (4, 1, 4_000), 257: (4, 1, 4_000)}),
        "webp": webp(4_000, 4_000, 1),
        "avif": avif[:place] + struct.pack(">II", 4_000, 4_000) + avif[place + 8 :],
        "jp2": jp2(4_000, 4_000, 4_000),
        "tga": struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 4_000, 4_000, 24, 32),
        "ppm": b"P6 4000 4000 255 ",
    }.items():
        yield f"few bytes.{name}", data, "4000 x 4000 pixels in .* bytes"


def test_numbers_and_run_lengths_take_little_time(tmp_path):
    """Pillow takes a second for each MB or two of them."""
    large = np.random.default_rng(0).integers(0, 256, 360_000)
    for name, data in {
        "text.ppm": b"P3 400 300 255 " + b" ".join(b"%d" % value for value in large),
        "twelve bits.ppm": b"P6 400 300 4095 " + b"\1\2" * 360_000,
        "lengths.bmp": bmp(300, 2_000, 8, (b"\1\2" * 300 + bytes(2)) * 2_000),
    }.items():
        (tmp_path / name).write_bytes(data)
        begin = time.process_time()
        assert read_image(tmp_path / name).shape[1] >= 300
        assert time.process_time() - begin < SLOWER * len(data) / 2e7 + 0.1, name


def test_floods_are_refused_for_what_they_are_made_of(tmp_path):
    for number, (name, data, reason) in enumerate(floods()):
        path = tmp_path / f"{number}{Path(name).suffix}"
        path.write_bytes(data)
        for read in (probe_image, read_image):
            with pytest.raises(ValueError, match=f"{re.escape(str(path))} .*{reason}"):
                read(path)
                pytest.fail(f"{name} was read")


def test_what_is_made_of_many_pieces_for_a_reason_is_read(tmp_path):
    """A thousand frames or comments, an ICC profile of 15 MB, Exif data of 60 kB, a blank page."""
    icc = b"\xff\xe2" + struct.pack(">H", 65_535) + b"ICC_PROFILE\0".ljust(65_533, b"x")
    base = saved("JPEG")
    blank = io.BytesIO()
    Image.new("RGB", (2_100, 2_900), "white").save(blank, "PNG")
    for name, data in {
        "comments.gif": gif(2, 2, before=b"\x21\xfe\x01x\0" * 1_000, frames=1_000),
        "frames.webp": webp(2, 2, 1_000),
        "profile.jpg": base[:2] + icc * 240 + base[2:],
        "exif.jpg": saved("JPEG", exif=exif(1, 7, 60_000, bytes(60_000))),
        "scans.jpg": scans(50),
        "blank.png": blank.getvalue(),
    }.items():
        (tmp_path / name).write_bytes(data)
        assert probe_image(tmp_path / name) == read_image(tmp_path / name).shape[1:]


FIRST = {".png": png(2, 2, pixels=bytes(14))}


def test_bombs_cost_little(costs):
    found = costs("image", itertools.chain(bombs(), floods()), FIRST)
    assert len(found) > 2 * 130
    for cost in found:
        assert cost.is_small() and "\\n" not in cost.outcome, cost
    assert sum("'refused" in cost.outcome for cost in found[1::2]) > 0.8 * len(found) / 2


@pytest.mark.slow
def test_large_bombs_cost_little(costs):
    """Megabytes each. Seconds are those of a machine that runs the loop in a hundredth of one."""
    found = costs("image", itertools.chain(bombs(), floods(400_000)), FIRST)
    for cost in found:
        assert cost.is_small(busy=False), cost
    largest, longest = (max(cost[column] for cost in found) for column in (1, 2))
    print(f"{len(found)} readings, {largest:.0f} MiB and {longest:.2f} s at most")
