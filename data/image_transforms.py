"""Images to one size: resized and cropped, letterboxed, or filled up by reflection; and shifted.

Resizing is Lanczos' (a = 3) with the filter widened when an image gets smaller, as Pillow does it,
on 8 bits: what aliases never reaches a codec.
"""

from typing import Literal

import torch
from PIL import Image
from torch import Generator, Tensor

from intaglio.data.formats.image import WHITE, Colour, image_of, pixels_of

Fit = Literal["crop", "letterbox"]
VIEWS = (1, 2, 10)
VIEW_RATIO = 1.1  # side of the picture that corners are cut from, over that of a view


def resized(pixels: Tensor, height: int, width: int) -> Tensor:
    """An image, uint8 [3, any, any], at another size, uint8 [3, height, width]."""
    if pixels.shape[1:] == (height, width):
        return pixels
    return pixels_of(image_of(pixels).resize((width, height), Image.Resampling.LANCZOS))


def fitted(pixels: Tensor, size: int, fit: Fit = "crop", *, background: Colour = WHITE) -> Tensor:
    """An image as a square.

    Args:
        pixels: uint8 [3, height, width].
        size: sides of the square.
        fit: ``crop`` brings the shorter side to ``size`` and cuts the middle out of the longer one;
            ``letterbox`` brings the longer side to ``size`` and fills up with the background.
        background: red, green and blue, 0 to 255.

    Returns:
        uint8 [3, size, size].
    """
    height, width = pixels.shape[1:]
    scale = size / (min(height, width) if fit == "crop" else max(height, width))
    scaled = resized(pixels, max(1, round(height * scale)), max(1, round(width * scale)))
    top, left = ((side - size) // 2 for side in scaled.shape[1:])
    if fit == "crop":
        return scaled[:, top : top + size, left : left + size].contiguous()
    square = torch.tensor(background, dtype=torch.uint8).view(3, 1, 1).repeat(1, size, size)
    inside = (
        slice(None),
        slice(-top, -top + scaled.shape[1]),
        slice(-left, -left + scaled.shape[2]),
    )
    square[inside] = scaled
    return square


def view(pixels: Tensor, size: int, number: int) -> Tensor:
    """One of ten views of an image, of which a data set of tokens has the first 1, 2 or all 10.

    Args:
        pixels: uint8 [3, height, width].
        size: sides of the square.
        number: 0 is the square of `fitted`; 2, 4, 6 and 8 are the corners of a square of
            ``VIEW_RATIO`` times the size, as in LlamaGen's ten crops (Sun et al., 2024); each odd
            number is the mirror of the one before.

    Returns:
        uint8 [3, size, size].

    Raises:
        ValueError: there is no such view.
    """
    if not 0 <= number < VIEWS[-1]:
        raise ValueError(f"views are 0 to {VIEWS[-1] - 1}, got {number}")
    corner = number // 2
    if corner == 0:
        square = fitted(pixels, size)
    else:
        margin = round(VIEW_RATIO * size) - size
        top, left = ((corner - 1) // 2 * margin, (corner - 1) % 2 * margin)
        square = fitted(pixels, size + margin)[:, top : top + size, left : left + size]
    return square.flip(2) if number % 2 else square.contiguous()


def padded(pixels: Tensor, multiple: int) -> Tensor:
    """An image with sides that are multiples of a number, filled up at the bottom and the right.

    Args:
        pixels: any type, [channels, height, width].
        multiple: of both sides.

    Returns:
        [channels, rounded height, rounded width]; the image reflected at its edges, as often as it
        takes, edge pixels once.
    """
    for dim in (1, 2):
        side = pixels.shape[dim]
        if side % multiple:
            indices = torch.arange(-(-side // multiple) * multiple)
            pixels = pixels.index_select(dim, _reflected(indices, side))
    return pixels


def shifted(pixels: Tensor, reach: int, generator: Generator) -> Tensor:
    """An image moved by up to ``reach`` pixels in each direction; reflection fills what opens.

    Args:
        pixels: any type, [channels, height, width].
        reach: 0 gives the image itself.
        generator: draws both numbers, even of reach 0.
    """
    down, right = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
    for dim, offset in ((1, down), (2, right)):
        if offset:
            indices = torch.arange(pixels.shape[dim]) - offset
            pixels = pixels.index_select(dim, _reflected(indices, pixels.shape[dim]))
    return pixels


def flipped(pixels: Tensor, share: float, generator: Generator) -> Tensor:
    """An image [channels, height, width], mirrored left to right in a share of the cases."""
    return pixels.flip(2) if float(torch.rand(1, generator=generator)) < share else pixels


def to_unit(pixels: Tensor) -> Tensor:
    """Float32 values in [-1, 1] of 8-bit pixels of any shape."""
    return pixels.float() / 127.5 - 1


def to_pixels(values: Tensor) -> Tensor:
    """8-bit pixels, on the CPU, of values in [-1, 1] of any shape; others are clipped."""
    return ((values.detach().float().cpu() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def _reflected(indices: Tensor, side: int) -> Tensor:
    """Indices within [0, side) of indices on the axis, mirrored at the outer pixels."""
    if side == 1:
        return torch.zeros_like(indices)
    period = 2 * (side - 1)
    return side - 1 - (indices.remainder(period) - (side - 1)).abs()
