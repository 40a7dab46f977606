"""Images from generators: decoded pixels, the region of an image to inpaint, grids of samples."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from einops import reduce
from torch import Tensor

from intaglio.codecs import ImageCodec
from intaglio.data.formats.atomic import replacing
from intaglio.data.formats.image import encode_image, read_image
from intaglio.data.image_transforms import fitted, to_pixels, to_unit
from intaglio.generators.detokenize import check_codec, images_of, tokens_of
from intaglio.generators.generator import Generator
from intaglio.generators.orders.base import PartialSequence
from intaglio.generators.samplers.sampler import Sampler
from intaglio.recipes.evaluation.figures.images import picture_grid
from intaglio.recipes.sampling.pipeline import SamplingPipeline

GRID_COLUMNS = 8  # of a grid without titles


class InpaintingRegion(NamedTuple):
    """An image, and the part of it to draw again.

    Attributes:
        pixels: uint8 [3, height, width], of a size that the codec takes.
        redrawn: bool [height, width], True where it may change.
    """

    pixels: Tensor
    redrawn: Tensor


class PNGImages:
    """The medium of image generators: uint8 [3, height, width], written as PNG.

    Args:
        generator: whose tokens are decoded.
        codec: that it was trained with, on the same device.

    Raises:
        ValueError: the generator was trained with another codec.
    """

    noun = "image"
    suffix = ".png"

    def __init__(self, generator: Generator, codec: ImageCodec) -> None:
        check_codec(generator, codec)
        self.generator, self.codec = generator, codec

    def decode(self, tokens: Tensor) -> Tensor:
        """Images, uint8 [batch, 3, height, width], of tokens [batch, positions, groups]."""
        return to_pixels(images_of(self.generator, self.codec, tokens))

    def to_bytes(self, item: Tensor) -> bytes:
        """An image as a PNG file."""
        return encode_image(item, "PNG")


def image_pipeline(
    generator: Generator,
    codec: ImageCodec,
    sampler: Sampler,
    *,
    region: InpaintingRegion | None = None,
) -> SamplingPipeline:
    """Draws images.

    Args:
        generator: on its device, in evaluation mode.
        codec: that it was trained with, on the same device.
        sampler: how tokens are drawn.
        region: to inpaint in every sample, or None to draw whole images.

    Raises:
        ValueError: the codec is another, or the region does not fit it.
    """
    medium = PNGImages(generator, codec)
    given = None if region is None else kept_tokens(generator, codec, region)
    return SamplingPipeline(generator, sampler, medium, given=given)


def read_region(codec: ImageCodec, image: str | Path, mask: str | Path) -> InpaintingRegion:
    """An image and a mask, white where the image is drawn again, in the codec's size.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is damaged, or the two have different sizes.
    """
    pixels, white = read_image(image), read_image(mask)
    if pixels.shape != white.shape:
        (height, width), (rows, columns) = pixels.shape[1:], white.shape[1:]
        raise ValueError(
            f"the mask has {columns} x {rows} pixels, the image {width} x {height}; make them equal"
        )
    pixels, white = (fitted(one, codec.image_size) for one in (pixels, white))
    return InpaintingRegion(pixels, white.float().mean(0) > 127)


def kept_tokens(
    generator: Generator, codec: ImageCodec, region: InpaintingRegion
) -> PartialSequence:
    """Tokens of the image; those of squares without a pixel of the region are given.

    Raises:
        ValueError: the codec has no grid of positions, or the region is empty.
    """
    device = next(codec.parameters()).device
    tokens = tokens_of(generator, codec, to_unit(region.pixels).unsqueeze(0).to(device))
    if len(generator.shape) != 2:
        raise ValueError(f"{codec.name} has no grid: a part of an image has no tokens of its own")
    hop = codec.hop_length
    squares = "(rows height) (columns width) -> (rows columns)"
    redrawn = reduce(region.redrawn, squares, "any", height=hop, width=hop)
    if not bool(redrawn.any()):
        raise ValueError("the mask has no white pixel: there is nothing to draw")
    return PartialSequence(tokens, ~redrawn.unsqueeze(0).to(device))


def write_grid(
    path: Path, images: Sequence[Path], titles: Sequence[str] = (), *, columns: int
) -> None:
    """Write a grid of image files as one PNG.

    Args:
        path: file to write.
        images: one file for each cell, row by row.
        titles: one for each row, or none.
        columns: images of a row; of 1, up to eight share a row, without titles.

    Raises:
        OSError: a file cannot be read or written.
    """
    pixels = [read_image(image) for image in images]
    titles, columns = (titles, columns) if columns > 1 else ((), min(GRID_COLUMNS, len(pixels)))
    blank = [torch.full_like(pixels[0], 255)] * (-len(pixels) % columns)
    cells = [*pixels, *blank]
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    with replacing(path) as part:
        part.write_bytes(picture_grid(rows, titles))
