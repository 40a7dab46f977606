"""Fixed positions of tokens on a grid."""

import torch
from torch import Tensor


def sine_grid(rows: int, columns: int, dim: int) -> Tensor:
    """Sines and cosines of the places of a grid, float32 [rows * columns, dim], row by row.

    Half of the channels tell the row, half the column (the two-dimensional form of Vaswani et al.,
    2017, in use since ViT).

    Raises:
        ValueError: ``dim`` is no multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"positions on a grid need a multiple of 4 channels, got {dim}")
    rate = 10_000 ** -(torch.arange(dim // 4) / (dim // 4))
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
