"""Numbers of a diffusion and of its ancestral sampling (DDPM; Ho et al., 2020).

1000 steps of the cosine schedule (Nichol and Dhariwal, 2021), or a selection of them, of which each
step back covers the steps left out.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

STEPS = 1000
OFFSET = 0.008  # of the cosine, so that the first steps add some noise
LARGEST = 0.999  # share of the signal that one step may take


class Step(NamedTuple):
    """Steps of a diffusion, each field a tensor of one shape.

    A noisy vector is ``signal * data + noise * eps``. Given the data, the vector one step back is
    normal around ``from_data * data + from_point * noisy``.

    Attributes:
        time: of the step, in [0, 1).
        signal: root of the share of the signal.
        noise: root of the share of the noise.
        from_data: share of the data in the mean one step back.
        from_point: share of the noisy vector in it.
        low: log of the variance one step back, given the data; of the first step, where that is
            0, of the second.
        high: log of the variance if the data were normal, the upper bound.
    """

    time: Tensor
    signal: Tensor
    noise: Tensor
    from_data: Tensor
    from_point: Tensor
    low: Tensor
    high: Tensor


def kept() -> Tensor:
    """Share of the signal's variance after each of the 1000 steps, float64 [1000]."""
    angle = (torch.arange(STEPS + 1, dtype=torch.float64) / STEPS + OFFSET) / (1 + OFFSET)
    share = (angle * math.pi / 2).cos().square()
    return (share[1:] / share[:-1]).clamp(min=1 - LARGEST).cumprod(0)


def ancestral(times: Sequence[int]) -> Step:
    """Steps of a diffusion that visits some of the 1000, float64 [steps].

    Args:
        times: of the steps, from 0 to 999, ascending.
    """
    after = kept()[torch.tensor(times)]
    before = torch.cat([after.new_ones(1), after[:-1]])
    beta = 1 - after / before
    variance = beta * (1 - before) / (1 - after)
    if len(times) > 1:
        variance[0] = variance[1]
    else:
        variance[0] = beta[0]
    return Step(
        time=torch.tensor(times, dtype=torch.float64) / STEPS,
        signal=after.sqrt(),
        noise=(1 - after).sqrt(),
        from_data=beta * before.sqrt() / (1 - after),
        from_point=(1 - before) * (1 - beta).sqrt() / (1 - after),
        low=variance.log(),
        high=beta.log(),
    )


def strided(steps: int) -> list[int]:
    """Times of a number of steps, evenly strided from 0 to 999 with both ends; 999 of one step.

    Raises:
        ValueError: no step, or more than 1000.
    """
    if not 1 <= steps <= STEPS:
        raise ValueError(f"a diffusion has 1 to {STEPS} steps, got {steps}")
    last = STEPS - 1
    return [last] if steps == 1 else [round(step * last / (steps - 1)) for step in range(steps)]
