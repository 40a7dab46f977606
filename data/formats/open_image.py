"""Opening image files that may come from anyone: which formats, and how large.

Pillow may look at the promised formats only. Those that cameras and browsers write are recognised
under each other's names; TIFF, PNM, JPEG 2000 and TGA only under their own, or under one that says
nothing. The size is that of the header, and nothing is decoded.
"""

import contextlib
import logging
import math
import mmap
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import (  # Pillow imports all of its plugins to look for one that is missing
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from intaglio.data.formats.directory import check_avif, check_directory
from intaglio.data.formats.jpeg import check_jpeg
from intaglio.data.formats.pieces import check_pieces
from intaglio.data.formats.png import check_chunks, is_png
from intaglio.data.formats.pnm import check_pnm
from intaglio.data.formats.regular_file import regular_file

PLUGINS = (
    PngImagePlugin.PngImageFile,
    JpegImagePlugin.JpegImageFile,
    WebPImagePlugin.WebPImageFile,
    AvifImagePlugin.AvifImageFile,
    BmpImagePlugin.BmpImageFile,
    GifImagePlugin.GifImageFile,
    TiffImagePlugin.TiffImageFile,
    PpmImagePlugin.PpmImageFile,
    Jpeg2KImagePlugin.Jpeg2KImageFile,
    TgaImagePlugin.TgaImageFile,
)
COMMON = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "GIF")
RARE = {
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".ppm", ".pgm", ".pnm"), "PPM"),
    ".jp2": "JPEG2000",
    ".tga": "TGA",
}
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".gif", *RARE})
FORMATS = (*COMMON, *dict.fromkeys(RARE.values()))
TILE_SIDES = (322, 323)  # tags of TIFF
# What is looked at before Pillow does
CHECKS = (check_pieces, check_jpeg, check_avif, check_directory, check_pnm)


class ImageLimits(NamedTuple):
    """What a file may ask for before anything of it is decoded.

    Attributes:
        max_side: pixels.
        max_pixels: in all.
        max_memory: bytes taken while it is read, by `MEMORY` and the size in the header.
        max_file: bytes of the file.
        free_memory: of images that may have any number of pixels for each byte of their file.
        max_per_byte: pixels of larger ones.
    """

    max_side: int = 1 << 16
    max_pixels: int = 1 << 26
    max_memory: int = 1 << 30
    max_file: int = 1 << 29
    free_memory: int = 1 << 26
    max_per_byte: int = 1 << 10


IMAGE_LIMITS = ImageLimits()
MEMORY = {"WEBP": 24, "AVIF": 24, "JPEG2000": 40}  # approximate bytes for each pixel
OTHER_MEMORY = 16  # of the other formats, whose measured peaks are 11 and below


@contextlib.contextmanager
def opened(path: Path, limits: ImageLimits = IMAGE_LIMITS) -> Iterator[Image.Image]:
    """An image file that exists and whose header is valid; nothing of it is decoded.

    Raises:
        ValueError: no image, empty, or outside ``limits``.
        FileNotFoundError: there is no such file.
    """
    with regular_file(path, "an image") as (file, size):
        if size > limits.max_file:
            raise ValueError(f"{path} has {size} bytes; the limit is {limits.max_file}")
        with _header(path, file) as image:
            _check_size(path, image, size, limits)
            yield image


def open_known(file: BinaryIO, formats: tuple[str, ...]) -> Image.Image:
    """`PIL.Image.open` for some formats, without warnings."""
    with without_warnings():
        return Image.open(file, formats=formats)


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Ignore Pillow's warnings, which are about sizes, which have limits here, and metadata."""
    with _warnings, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


_warnings = threading.Lock()  # filters of warnings are not of one thread
logging.getLogger("PIL").addHandler(logging.NullHandler())  # what it logs it raises, too


def formats_under(name: Path) -> tuple[str, ...]:
    """Formats that are looked for in a file of this name."""
    suffix = name.suffix.lower()
    if suffix in RARE:
        return (*COMMON, RARE[suffix])
    return COMMON if suffix in SUFFIXES else FORMATS


def _check_size(path: Path, image: Image.Image, size: int, limits: ImageLimits) -> None:
    """Raise ValueError for an image outside the limits."""
    width, height = image.size
    if not (1 <= min(width, height) and max(width, height) <= limits.max_side):
        raise ValueError(f"{path} has {height} x {width} pixels; a side has 1 to {limits.max_side}")
    pixels = width * height
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        with without_warnings():
            sides = [side for tag in TILE_SIDES if type(side := image.tag_v2.get(tag)) is int]
        pixels = max(pixels, math.prod(sides))  # a tile may be larger than the image
    if pixels > limits.max_pixels:
        raise ValueError(
            f"{path} has {height} x {width} pixels; the limit is {limits.max_pixels} in all"
        )
    memory = pixels * MEMORY.get(image.format or "", OTHER_MEMORY)
    if memory > limits.max_memory:
        raise ValueError(
            f"{path} has {height} x {width} pixels; to read them as {image.format} takes about "
            f"{memory >> 20} MiB, and the limit is {limits.max_memory >> 20}"
        )
    if memory > limits.free_memory and pixels > limits.max_per_byte * size:
        raise ValueError(
            f"{path} has {height} x {width} pixels in {size} bytes; the limit for large images is "
            f"{limits.max_per_byte} for each byte"
        )


def _signature(start: bytes, formats: tuple[str, ...]) -> str | None:
    """The format that a file begins as, if it is one of these."""
    tests = {name: Image.OPEN[name][1] for name in formats}
    return next((name for name, test in tests.items() if test and test(start) is True), None)


def _header(path: Path, file: BinaryIO) -> Image.Image:
    """The image of an open file, not decoded yet."""
    formats = formats_under(path)
    try:
        if is_png(file):
            check_chunks(file)  # Pillow would look at any number
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        for check in CHECKS:
            check(content)
        file.seek(0)
        return open_known(file, formats)
    except UnidentifiedImageError as error:
        if kind := _signature(content[:16], formats):
            raise ValueError(
                f"{path} is damaged, or {kind} of a kind that is not supported; convert it to PNG"
            ) from error
        raise ValueError(
            f"{path} is not an image of {', '.join(formats)}, or damaged at its beginning"
        ) from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path} claims more pixels than can be decoded: {error}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise ValueError(f"{path} is damaged: {error}") from error
    except Exception as error:  # headers are parsed by ten plugins
        raise ValueError(f"{path} is damaged: {error or type(error).__name__}") from error
