"""Fixed positions of tokens: sines of places and times, and rotations."""

import torch
from torch import Tensor

LADDER = 10_000.0  # ratio of the fastest to the slowest wave


def sine_grid(rows: int, columns: int, dim: int) -> Tensor:
    """Sines and cosines of the places of a grid, float32 [rows * columns, dim], row by row.

    Half of the channels tell the row, half the column (the two-dimensional form of Vaswani et al.,
    2017, in use since ViT).

    Raises:
        ValueError: ``dim`` is no multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"positions on a grid need a multiple of 4 channels, got {dim}")
    rate = LADDER ** -(torch.arange(dim // 4) / (dim // 4))
    places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).float()
    angles = (places.view(-1, 2, 1) * rate).flatten(1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def sine_time(time: Tensor, dim: int, *, max_period: float = 256.0) -> Tensor:
    """Cosines and sines of times in [0, 1], float32 [batch, dim].

    Args:
        time: float [batch].
        dim: channels, even.
        max_period: ratio of the slowest to the fastest wave, which turns 1000 rad over [0, 1].
    """
    rate = max_period ** -(torch.arange(dim // 2, device=time.device) / (dim // 2))
    angles = 1000 * time.float().unsqueeze(1) * rate
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def rotation(places: Tensor, size: int, *, base: float = LADDER) -> Tensor:
    """Cosines and sines that turn the pairs of channels of a head (RoPE; Su et al., 2021).

    The pairs are shared out evenly among the axes of the places, the first axis first; each axis
    has a whole ladder of rates, as in LlamaGen's two-dimensional form (Sun et al., 2024).

    Args:
        places: [tokens, axes]; of a token without a place, negative: it is not turned.
        size: channels of a head; a multiple of twice the axes.
        base: ratio of the rates.

    Returns:
        float32 [tokens, size / 2, 2].

    Raises:
        ValueError: the axes do not share the pairs evenly.
    """
    axes = places.shape[1]
    if size % (2 * axes):
        raise ValueError(f"{axes} axes of rotation do not divide {size} channels into pairs")
    pairs = size // 2 // axes
    rate = base ** -(torch.arange(pairs, device=places.device) / pairs)
    angles = (places.clamp_min(0).unsqueeze(-1) * rate).flatten(1)
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


def rotated(x: Tensor, turn: Tensor) -> Tensor:
    """Turn each pair of neighbouring channels, in float32 at least.

    Args:
        x: [batch, heads, tokens, size].
        turn: [tokens, size / 2, 2] of `rotation`, or [batch, 1, tokens, size / 2, 2].
    """
    pairs = at_least_float32(x).unflatten(-1, (-1, 2))
    if torch.compiler.is_compiling():  # which knows no complex numbers
        turned = _turned(pairs, turn)
    else:  # a single product, where the other form takes eight small operations
        turned = torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(turn))
    return turned.flatten(-2).to(x.dtype)


def _turned(pairs: Tensor, turn: Tensor) -> Tensor:
    first, second = pairs.unbind(-1)
    cos, sin = turn.unbind(-1)
    return torch.stack([first * cos - second * sin, first * sin + second * cos], dim=-1)


def at_least_float32(x: Tensor) -> Tensor:
    """Values of half precision in float32, others as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
