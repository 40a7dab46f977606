"""Guarded image files: the size is checked before anything is decoded; read as RGB of 8 bits.

Whatever cannot be trusted ends in one ValueError that names the file: no image, empty, truncated,
damaged, a wrong checksum, too many pixels (a small file can claim gigabytes). Of several frames
the first is read. The orientation that cameras note is applied, a colour profile is not.
Transparency is laid over a background.
"""

import io
import mmap
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import BmpImagePlugin, Image, ImageOps, PngImagePlugin, PpmImagePlugin
from torch import Tensor

from intaglio.data.formats.atomic import replacing
from intaglio.data.formats.bmp import run_length_image
from intaglio.data.formats.directory import check_directory
from intaglio.data.formats.open_image import (
    IMAGE_LIMITS,
    ImageLimits,
    open_known,
    opened,
    without_warnings,
)
from intaglio.data.formats.png import check_checksums, without_pixels
from intaglio.data.formats.pnm import pnm_pixels

WRITTEN = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG"}
JPEG_QUALITY = 95
WHITE = (255, 255, 255)
TURNED = (5, 6, 7, 8)  # values of Exif's orientation that exchange the sides
ORIENTATION = 0x0112
RAW_EXIF = "Raw profile type exif"  # name of a text of PNG files, in hexadecimal digits
MAX_RAW_EXIF = 1 << 17
ENCODED = ("PNG", "WEBP", "JPEG", "AVIF")  # what `encode_image` makes
STRIP = 1 << 20  # pixels converted at once

Colour = tuple[int, int, int]


class _UnsupportedError(ValueError):
    """An intact image that is not read."""


class ImageInfo(NamedTuple):
    """Size of an image in pixels, the right way up."""

    height: int
    width: int


def probe_image(path: str | Path, limits: ImageLimits = IMAGE_LIMITS) -> ImageInfo:
    """Checked size of an image file; no pixel is decoded.

    Raises:
        ValueError: no image, empty, or outside ``limits``.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    with opened(path, limits) as image:
        try:
            turned = _orientation(image) in TURNED
        except Exception as error:  # damaged Exif data, whatever its parser stumbles over
            raise ValueError(f"{path} is damaged: {error}") from error
        return ImageInfo(*(image.size if turned else image.size[::-1]))


def read_image(
    path: str | Path, *, background: Colour = WHITE, limits: ImageLimits = IMAGE_LIMITS
) -> Tensor:
    """Pixels of an image file.

    Args:
        path: the file.
        background: red, green and blue, 0 to 255, behind what is transparent.
        limits: what the header may say.

    Returns:
        uint8 [3, height, width], red, green and blue; grey images have three equal channels.

    Raises:
        ValueError: as `probe_image`; also truncated or damaged, or samples of 32 bits.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    with opened(path, limits) as image:
        try:
            _verify(image)
            if (decoded := _decoded_by_arrays(image)) is not None:
                return _pixels(decoded, background)
            if image.mode in ("I", "F"):
                raise _UnsupportedError(
                    f"{path} has samples of 32 bits, which are not supported, for their range is "
                    "not known; convert it to 8 or 16 bits"
                )
            image.load()
            _check_exif(image)
            with without_warnings():
                ImageOps.exif_transpose(image, in_place=True)
            return _pixels(image, background)
        except _UnsupportedError:
            raise
        except OSError as error:
            if error.errno is not None:  # of the disk
                raise
            raise ValueError(f"{path} is damaged: {error}") from error
        except Exception as error:  # decoders stumble over damage in any way
            raise ValueError(f"{path} is damaged: {error or type(error).__name__}") from error


def write_image(path: str | Path, pixels: Tensor) -> None:
    """Write an image as PNG or WebP, both without loss, or as JPEG of quality 95, by the suffix.

    Args:
        path: file to write; an old one is replaced only when the new one is whole.
        pixels: uint8 [3, height, width].

    Raises:
        ValueError: another suffix, a wrong shape or type, or a size the format cannot hold.
        OSError: the file cannot be written.
    """
    path = Path(path)
    kind = image_format(path)
    if pixels.dtype != torch.uint8 or pixels.dim() != 3 or pixels.shape[0] != 3 or not len(pixels):
        raise ValueError(
            f"{path}: an image is uint8 [3, height, width], got {pixels.dtype} {list(pixels.shape)}"
        )
    try:
        coded = encode_image(pixels, kind, quality=JPEG_QUALITY if kind == "JPEG" else None)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    with replacing(path) as part:
        part.write_bytes(coded)


def image_format(path: Path) -> str:
    """Format to write by the suffix of a path.

    Raises:
        ValueError: a suffix of no format that can be written.
    """
    kind = WRITTEN.get(path.suffix.lower())
    if kind is None:
        raise ValueError(
            f"{path}: can write {', '.join(WRITTEN)}, not {path.suffix or 'without a suffix'}"
        )
    return kind


def encode_image(pixels: Tensor, kind: str, *, quality: int | None = None) -> bytes:
    """Bytes of an image file.

    Args:
        pixels: uint8 [3, height, width].
        kind: name of the format as Pillow knows it: PNG, WEBP, JPEG, AVIF.
        quality: 0 to 100; None stores without loss, which JPEG and AVIF cannot.

    Raises:
        ValueError: the format cannot hold the image.
    """
    file = io.BytesIO()
    image = image_of(pixels)
    try:
        if quality is None:
            image.save(file, kind, lossless=True)
        else:
            image.save(file, kind, quality=quality, optimize=True)
    except (OSError, ValueError, KeyError) as error:
        height, width = pixels.shape[1:]
        raise ValueError(f"cannot store {height} x {width} pixels as {kind}: {error}") from error
    return file.getvalue()


def decode_image(coded: bytes) -> Tensor:
    """Pixels, uint8 [3, height, width], of the bytes of an image file of our own."""
    with open_known(io.BytesIO(coded), ENCODED) as image:
        return pixels_of(image.convert("RGB"))


def image_of(pixels: Tensor) -> Image.Image:
    """Pillow's image of pixels, uint8 [3, height, width]."""
    return Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).cpu().numpy()))


def pixels_of(image: Image.Image) -> Tensor:
    """Pixels, uint8 [3, height, width], of an RGB image of Pillow."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def _verify(image: Image.Image) -> None:
    """Raise ValueError for a PNG with a wrong checksum; no other format has its own."""
    if isinstance(image, PngImagePlugin.PngImageFile):
        assert image.fp is not None
        position = image.fp.tell()
        check_checksums(image.fp)
        image.fp.seek(position)


def _decoded_by_arrays(image: Image.Image) -> Image.Image | None:
    """The image where Pillow would decode each pixel by itself in Python, which takes long."""
    if not isinstance(image, BmpImagePlugin.BmpImageFile | PpmImagePlugin.PpmImageFile):
        return None
    assert image.fp is not None
    content = mmap.mmap(image.fp.fileno(), 0, access=mmap.ACCESS_READ)
    if isinstance(image, BmpImagePlugin.BmpImageFile):
        return run_length_image(image, content)
    pixels = pnm_pixels(content)
    return None if pixels is None else Image.fromarray(pixels)


def _check_exif(image: Image.Image) -> None:
    """Raise ValueError for Exif data, also those of PNG, that would cost much to parse."""
    check_directory(image.info.get("exif", b""))
    if len(image.info.get(RAW_EXIF, "")) > MAX_RAW_EXIF:
        raise ValueError(f"it has more than {MAX_RAW_EXIF} characters of Exif data")


def _orientation(image: Image.Image) -> int | None:
    """Exif's orientation of an image that is not decoded, nor by this."""
    if isinstance(image, PngImagePlugin.PngImageFile):
        assert image.fp is not None
        with open_known(io.BytesIO(without_pixels(image.fp)), ("PNG",)) as empty:
            _check_exif(empty)
            return Image.Image.getexif(empty).get(ORIENTATION)
    _check_exif(image)
    with without_warnings():
        return image.getexif().get(ORIENTATION)


def _pixels(image: Image.Image, background: Colour) -> Tensor:
    """Pixels, uint8 [3, height, width]; strips of rows are converted one by one to save memory."""
    width, height = image.size
    pixels, rows = torch.empty(3, height, width, dtype=torch.uint8), max(1, STRIP // width)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        strip = image.crop((0, top, width, bottom))
        pixels[:, top:bottom] = pixels_of(_rgb(strip, background))
    return pixels


def _rgb(image: Image.Image, background: Colour) -> Image.Image:
    """An image without transparency, as RGB of 8 bits."""
    if image.mode.startswith("I;16"):  # Pillow would cut off what is above 255
        grey = (np.asarray(image).astype(np.uint32) + 128) // 257
        image = Image.fromarray(grey.astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        below = Image.new("RGBA", image.size, (*background, 255))
        image = Image.alpha_composite(below, image)
    return image.convert("RGB")
