"""Rectified flow (Liu et al., 2023; Lipman et al., 2023): the straight path from noise to data.

``x_t = t * noise + (1 - t) * data``; a network is trained to predict the velocity ``noise - data``.
"""

import torch
from torch import Tensor


def on_path(data: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """Points of the path, of the shape of ``data``, at times [batch] in [0, 1]; 1 is noise."""
    share = time.view(-1, *(1,) * (data.dim() - 1))
    return share * noise + (1 - share) * data


def logit_normal(count: int, device: torch.device) -> Tensor:
    """Times of a training batch, float32 [count]: the middle of the path more often (SD3, 2024)."""
    return torch.randn(count, device=device).sigmoid()


def projected_guidance(
    with_condition: Tensor, without: Tensor, *, scale: float, clip: float = 2.5
) -> Tensor:
    """Guided velocity (APG; Sadat et al., 2024, without momentum).

    The difference that a condition makes is cut to a norm of ``clip``, and only what is at right
    angles to the conditional velocity is amplified: strong guidance then does not oversaturate.

    Args:
        with_condition: velocity under the condition, [batch, …].
        without: velocity without it.
        scale: 1 changes nothing.
        clip: largest norm of the difference.
    """
    axes = tuple(range(1, with_condition.dim()))
    difference = with_condition - without
    norm = difference.square().sum(axes, keepdim=True).sqrt()
    difference = difference * (clip / norm.clamp(min=1e-6)).clamp(max=1)
    power = with_condition.square().sum(axes, keepdim=True).clamp(min=1e-12)
    along = (difference * with_condition).sum(axes, keepdim=True) / power
    return with_condition + (scale - 1) * (difference - along * with_condition)
