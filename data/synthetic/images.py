"""Test images: overlapping discs, boxes and triangles on a shaded ground, made from a seed."""

import math

import torch
from torch import Generator, Tensor

KINDS = ("disc", "box", "triangle")


def shapes_image(size: int, kind: int, generator: Generator) -> Tensor:
    """Image of one to three shapes of one kind, with soft edges and shaded surfaces.

    Args:
        size: sides of the image in pixels.
        kind: index in `KINDS`.
        generator: every choice is drawn from it.

    Returns:
        float32 [3, size, size] in [-1, 1].

    Raises:
        ValueError: a size or a kind that there is not.
    """
    if size < 1 or not 0 <= kind < len(KINDS):
        raise ValueError(f"cannot draw kind {kind} of {len(KINDS)} on {size} pixels")
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    down, right = torch.meshgrid(axis, axis, indexing="ij")
    image = _shaded(down, right, generator)
    for _ in range(int(torch.randint(1, 4, (1,), generator=generator))):
        distance = _distance(down, right, kind, generator)
        cover = (0.5 - distance * size / 4).clamp(0, 1)  # edges two pixels wide
        image = torch.lerp(image, _shaded(down, right, generator), cover)
    return image.clamp(-1, 1)


def _shaded(down: Tensor, right: Tensor, generator: Generator) -> Tensor:
    """A colour that changes evenly across the image, [3, size, size]."""
    colour, slope, rotation = torch.rand(3, 3, 1, 1, generator=generator)
    angle = 2 * math.pi * rotation
    return 1.6 * colour - 0.8 + 0.3 * slope * (angle.cos() * down + angle.sin() * right)


def _distance(down: Tensor, right: Tensor, kind: int, generator: Generator) -> Tensor:
    """About the signed distance from the edge of a shape; negative inside, [size, size]."""
    x, y, radius, rotation = torch.rand(4, generator=generator).tolist()
    radius = 0.2 + 0.4 * radius
    angle = 2 * math.pi * rotation
    down, right = down - 1.2 * x + 0.6, right - 1.2 * y + 0.6
    if KINDS[kind] == "disc":
        return torch.hypot(down, right) - radius
    sides = 4 if KINDS[kind] == "box" else 3
    angles = angle + 2 * math.pi / sides * torch.arange(sides).view(-1, 1, 1)
    return (angles.cos() * down + angles.sin() * right).amax(0) - radius * math.cos(math.pi / sides)
