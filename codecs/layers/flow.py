"""Rectified flow (Liu et al., 2023; Lipman et al., 2023): the straight path from noise to data.

``x_t = t * noise + (1 - t) * data``; a network is trained to tell the velocity ``noise - data``.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor


def on_path(data: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """Points of the path, of the shape of ``data``, at times [batch] in [0, 1]; 1 is noise."""
    share = time.view(-1, *(1,) * (data.dim() - 1))
    return share * noise + (1 - share) * data


def logit_normal(count: int, device: torch.device) -> Tensor:
    """Times of a training batch, float32 [count]: the middle of the path more often (SD3, 2024)."""
    return torch.randn(count, device=device).sigmoid()


def euler(
    velocity: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    steps: int,
    *,
    shift: float = 1.0,
) -> Tensor:
    """Data at the end of the path, by Euler steps from time 1 to 0.

    Args:
        velocity: of points, at times [batch].
        noise: where the path begins.
        steps: number of steps, at least 1.
        shift: 1 for equal steps; above 1 they are finer near the noise (SD3; Esser et al., 2024):
            a time t of equal steps becomes shift * t / (1 + (shift - 1) * t).

    Raises:
        ValueError: no step.
    """
    if steps < 1:
        raise ValueError(f"a path needs at least 1 step, got {steps}")
    equal = [1 - step / steps for step in range(steps + 1)]
    times = [shift * time / (1 + (shift - 1) * time) for time in equal]
    x = noise
    for start, end in pairwise(times):
        time = torch.full((len(x),), start, device=x.device)
        x = x - velocity(x, time) * (start - end)
    return x


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
