"""Image files: what is read, what is refused before it is decoded, and every kind of damage."""

import io
import random
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from intaglio.data.formats.image import (
    decode_image,
    encode_image,
    probe_image,
    read_image,
    write_image,
)
from intaglio.data.formats.open_image import IMAGE_LIMITS


def picture(height=20, width=30, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def test_what_is_written_without_loss_is_read_back(tmp_path):
    pixels = picture()
    for suffix in (".png", ".webp", ".PNG"):
        write_image(tmp_path / f"a{suffix}", pixels)
        assert torch.equal(read_image(tmp_path / f"a{suffix}"), pixels)
        assert probe_image(tmp_path / f"a{suffix}") == (20, 30)
    smooth = torch.arange(90, dtype=torch.uint8).view(1, 9, 10).repeat(3, 1, 1)
    write_image(tmp_path / "a.jpg", smooth)
    assert (read_image(tmp_path / "a.jpg").int() - smooth.int()).abs().max() < 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.PNG", "a.jpg", "a.png", "a.webp"]


def test_transparency_is_laid_over_the_background(tmp_path):
    values = np.zeros((1, 3, 4), np.uint8)
    values[0] = [[200, 0, 0, 255], [200, 0, 0, 0], [0, 0, 0, 128]]
    Image.fromarray(values).save(tmp_path / "a.png")
    white, black = (
        read_image(tmp_path / "a.png"),
        read_image(tmp_path / "a.png", background=(0,) * 3),
    )
    assert white[:, 0].T.tolist() == [[200, 0, 0], [255, 255, 255], [127, 127, 127]]
    assert black[:, 0].T.tolist() == [[200, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_a_transparent_colour_of_a_palette_is_background(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=1)
    assert read_image(tmp_path / "a.png")[:, 0].T.tolist() == [[10, 20, 30], [255, 255, 255]]


def test_grey_and_16_bits(tmp_path):
    Image.fromarray(np.array([[0, 7, 255]], np.uint8)).save(tmp_path / "grey.png")
    assert read_image(tmp_path / "grey.png").tolist() == [[[0, 7, 255]]] * 3
    Image.fromarray(np.array([[0, 257, 65535, 32768]], np.uint16)).save(tmp_path / "deep.png")
    assert read_image(tmp_path / "deep.png").tolist() == [[[0, 1, 255, 128]]] * 3
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(ValueError, match=r"float\.tif has samples of 32 bits, .* convert it to 8"):
        read_image(tmp_path / "float.tif")


def test_the_orientation_of_cameras_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    Image.fromarray(np.array([[10, 200, 90]], np.uint8)).save(tmp_path / "a.png", exif=exif)
    assert probe_image(tmp_path / "a.png") == (3, 1)
    assert read_image(tmp_path / "a.png")[0].tolist() == [[10], [200], [90]]


def bomb(width, height):
    """A PNG of a few bytes that claims to be huge."""

    def chunk(name, content):
        return (
            struct.pack(">I", len(content))
            + name
            + content
            + struct.pack(">I", zlib.crc32(name + content))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "size", [(30_000, 30_000), (12_000, 12_000), (65_537, 1), (60_000, 60_000)]
)
def test_images_that_claim_too_much_are_refused_before_they_are_decoded(tmp_path, size):
    (tmp_path / "a.png").write_bytes(bomb(*size))
    for read in (probe_image, read_image):
        with pytest.raises(ValueError, match=r"a\.png.*pixels") as caught:
            read(tmp_path / "a.png")
        assert "\n" not in str(caught.value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="limit is 599"):
            (tmp_path / "b.png").write_bytes(encode_image(picture(), "PNG"))
            read_image(tmp_path / "b.png", limits=IMAGE_LIMITS._replace(max_pixels=599))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_damage_is_refused_in_one_line_or_reads_as_an_image(tmp_path, kind):
    file = io.BytesIO()
    Image.fromarray(picture(24, 24).permute(1, 2, 0).numpy()).save(file, kind)
    whole = file.getvalue()
    draw = random.Random(3)
    path = tmp_path / "a.bin"
    refused = 0
    for number in range(60):
        if number < 20:
            data = whole[: draw.randrange(1, len(whole) * 9 // 10)]
        else:
            damaged = bytearray(whole)
            for _ in range(4):
                damaged[draw.randrange(len(whole) if number % 2 else 60)] = draw.randrange(256)
            data = bytes(damaged)
        path.write_bytes(data)
        try:
            pixels = read_image(path, limits=IMAGE_LIMITS._replace(max_pixels=10_000))
        except ValueError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)
            refused += 1
            continue
        assert pixels.dtype == torch.uint8 and pixels.shape[0] == 3
    assert refused >= 18  # at least what was cut


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    for name, reason in (("empty.png", "empty"), ("text.png", "not an image"), ("", "folder")):
        with pytest.raises(ValueError, match=reason):
            read_image(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_image(tmp_path / "gone.png")


def test_writing_refuses_what_it_cannot_hold(tmp_path):
    with pytest.raises(ValueError, match=r"can write \.png.*not \.bmp"):
        write_image(tmp_path / "a.bmp", picture())
    for wrong in (picture().float(), picture()[0], picture()[:2]):
        with pytest.raises(ValueError, match="uint8"):
            write_image(tmp_path / "a.png", wrong)
    with pytest.raises(ValueError, match=r"a\.webp: cannot store 1 x 20000"):
        write_image(tmp_path / "a.webp", torch.zeros(3, 1, 20_000, dtype=torch.uint8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
def test_more_quality_takes_more_bytes_and_is_nearer(kind):
    pixels = picture(32, 32)
    low, high = (encode_image(pixels, kind, quality=quality) for quality in (10, 90))
    assert len(low) < len(high)
    far, near = ((decode_image(x).float() - pixels).square().mean() for x in (low, high))
    assert near < far


def test_a_file_that_begins_as_an_image_is_damaged_and_not_of_another_format(tmp_path):
    path = tmp_path / "a.avif"
    path.write_bytes(
        encode_image(torch.full((3, 16, 16), 9, dtype=torch.uint8), "AVIF", quality=50)
    )
    content = bytearray(path.read_bytes())
    content[content.index(b"meta")] ^= 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.avif is damaged, or AVIF of a kind that"):
        read_image(path)
