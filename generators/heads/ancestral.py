"""Coefficients of a diffusion and of its ancestral sampling (DDPM; Ho et al., 2020).

The 1000 steps of the cosine schedule (Nichol and Dhariwal, 2021), or some of them; a denoising step
then covers the steps between.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

STEPS = 1000
OFFSET = 0.008  # of the cosine schedule, so that the first steps add some noise
LARGEST = 0.999  # beta of one step


class DiffusionStep(NamedTuple):
    """Steps of a diffusion, each field a tensor of one shape.

    A noisy vector is ``signal * data + noise * eps``. Given the data, the vector of the previous
    step is normal with mean ``from_data * data + from_noisy * noisy``.

    Attributes:
        time: of the step, in [0, 1).
        signal: amplitude of the data.
        noise: amplitude of the noise.
        from_data: coefficient of the data in the mean of the previous step.
        from_noisy: coefficient of the noisy vector in it.
        low: log-variance of the previous step given the data, its lower bound; at the first step,
            where the variance is 0, that of the second.
        high: log-variance if the data were standard normal, its upper bound.
    """

    time: Tensor
    signal: Tensor
    noise: Tensor
    from_data: Tensor
    from_noisy: Tensor
    low: Tensor
    high: Tensor


def signal_power() -> Tensor:
    """Squared amplitude of the data after each of the 1000 steps (alpha bar), float64 [1000]."""
    angle = (torch.arange(STEPS + 1, dtype=torch.float64) / STEPS + OFFSET) / (1 + OFFSET)
    share = (angle * math.pi / 2).cos().square()
    return (share[1:] / share[:-1]).clamp(min=1 - LARGEST).cumprod(0)


def ancestral(times: Sequence[int]) -> DiffusionStep:
    """Coefficients of a diffusion over some of the 1000 steps, float64 [steps].

    Args:
        times: of the steps, from 0 to 999, ascending.
    """
    after = signal_power()[torch.tensor(times)]
    before = torch.cat([after.new_ones(1), after[:-1]])
    beta = 1 - after / before
    variance = beta * (1 - before) / (1 - after)
    if len(times) > 1:
        variance[0] = variance[1]
    else:
        variance[0] = beta[0]
    return DiffusionStep(
        time=torch.tensor(times, dtype=torch.float64) / STEPS,
        signal=after.sqrt(),
        noise=(1 - after).sqrt(),
        from_data=beta * before.sqrt() / (1 - after),
        from_noisy=(1 - before) * (1 - beta).sqrt() / (1 - after),
        low=variance.log(),
        high=beta.log(),
    )


def strided(steps: int) -> list[int]:
    """Times of a number of steps, evenly spaced from 0 to 999 inclusive; 999 for one step.

    Raises:
        ValueError: no step, or more than 1000.
    """
    if not 1 <= steps <= STEPS:
        raise ValueError(f"a diffusion has 1 to {STEPS} steps, got {steps}")
    last = STEPS - 1
    return [last] if steps == 1 else [round(step * last / (steps - 1)) for step in range(steps)]
