"""Fixed position embeddings: sines of grid positions and times, and rotations."""

import torch
from torch import Tensor

from intaglio.codecs.layers.tracing import exporting

ROPE_THETA = 10_000.0  # ratio of the fastest to the slowest frequency


def sine_grid(rows: int, columns: int, dim: int) -> Tensor:
    """Sines and cosines of the positions of a grid, float32 [rows * columns, dim], row by row.

    Half of the channels encode the row, half the column (the two-dimensional form of Vaswani et
    al., 2017, in use since ViT).

    Raises:
        ValueError: ``dim`` is no multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"positions on a grid need a multiple of 4 channels, got {dim}")
    rate = ROPE_THETA ** -(torch.arange(dim // 4) / (dim // 4))
    positions = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).float()
    angles = (positions.view(-1, 2, 1) * rate).flatten(1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def sine_positions(count: int, dim: int) -> Tensor:
    """Sines, then cosines, of positions in a sequence, float32 [count, dim] (as Whisper's)."""
    half = dim // 2
    rate = ROPE_THETA ** -(torch.arange(half, dtype=torch.float64) / max(1, half - 1))
    angles = torch.outer(torch.arange(count, dtype=torch.float64), rate)
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def sine_time(time: Tensor, dim: int, *, max_period: float = 256.0) -> Tensor:
    """Cosines and sines of times in [0, 1], float32 [batch, dim].

    Args:
        time: float [batch].
        dim: channels, even.
        max_period: ratio of the longest to the shortest period; the fastest wave covers 1000 rad
            over [0, 1].
    """
    rate = max_period ** -(torch.arange(dim // 2, device=time.device) / (dim // 2))
    angles = 1000 * time.float().unsqueeze(1) * rate
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def rotation(positions: Tensor, size: int, *, theta: float = ROPE_THETA) -> Tensor:
    """Rotary table: cosines and sines that rotate pairs of channels (RoPE; Su et al., 2021).

    The pairs are divided evenly among the axes, the first axis first; each axis has frequencies
    from 1 to 1 / theta, as in LlamaGen's two-dimensional form (Sun et al., 2024).

    Args:
        positions: [tokens, axes]; negative for a token without a position, which is not rotated.
        size: channels of a head; a multiple of twice the axes.
        theta: ratio of the highest frequency to the lowest.

    Returns:
        float32 [tokens, size / 2, 2].

    Raises:
        ValueError: the axes do not divide the pairs evenly.
    """
    axes = positions.shape[1]
    if size % (2 * axes):
        raise ValueError(f"{axes} axes of rotation do not divide {size} channels into pairs")
    pairs = size // 2 // axes
    rate = theta ** -(torch.arange(pairs, device=positions.device) / pairs)
    angles = (positions.clamp_min(0).unsqueeze(-1) * rate).flatten(1)
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


def rotated(x: Tensor, table: Tensor) -> Tensor:
    """Rotate each pair of neighbouring channels, in float32 at least.

    Args:
        x: [batch, heads, tokens, size].
        table: [tokens, size / 2, 2] of `rotation`, or [batch, 1, tokens, size / 2, 2].
    """
    pairs = at_least_float32(x).unflatten(-1, (-1, 2))
    if torch.compiler.is_compiling() or exporting():  # graphs have no complex numbers
        y = _rotated(pairs, table)
    else:  # a single product, where the other form takes eight small operations
        y = torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(table))
    return y.flatten(-2).to(x.dtype)


def _rotated(pairs: Tensor, table: Tensor) -> Tensor:
    first, second = pairs.unbind(-1)
    cos, sin = table.unbind(-1)
    return torch.stack([first * cos - second * sin, first * sin + second * cos], dim=-1)


def at_least_float32(x: Tensor) -> Tensor:
    """Values of half precision in float32, others as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
