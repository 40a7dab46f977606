"""Steps along a flow from noise to data (see `flow`), one network evaluation each.

Euler's method follows the velocity. ``sde`` (SiT; Ma et al., 2024, as in xAR) also replaces some of
the noise that the velocity predicts by as much fresh noise, which corrects earlier
errors: Euler and Maruyama's method with a diffusion of twice the time. Its last step follows the
velocity alone, to the data that are expected, where the releases drop the fresh noise only.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor

Solver = Literal["euler", "sde"]
LAST = 0.04  # time of the last step of ``sde``


def times(solver: Solver, steps: int) -> list[float]:
    """Times between the steps, from 1 to 0: one more than steps.

    Raises:
        ValueError: an unknown solver, or no step.
    """
    if solver not in get_args(Solver):
        raise ValueError(f"solvers are {', '.join(get_args(Solver))}, not {solver!r}")
    if steps < 1:
        raise ValueError(f"a path needs at least 1 step, got {steps}")
    if solver == "euler":
        return [1 - step / steps for step in range(steps + 1)]
    return [1 - (1 - LAST) * step / max(1, steps - 1) for step in range(steps)] + [0.0]


def moved(
    x: Tensor, velocity: Tensor, start: float, end: float, noise: Tensor | None = None
) -> Tensor:
    """Points after one step.

    Args:
        x: points, ``start * noise + (1 - start) * data``.
        velocity: predicted there, of ``noise - data``.
        start: time of the points.
        end: time after the step, earlier.
        noise: fresh, standard normal, for ``sde``; None for Euler's method, and for the step to 0.
    """
    span = start - end
    if noise is None:
        return x - span * velocity
    predicted = x + (1 - start) * velocity  # the noise within the points
    return x - span * (velocity + predicted) + (2 * start * span) ** 0.5 * noise


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
        shift: see `shifted_times`.

    Raises:
        ValueError: no step.
    """
    x = noise
    for start, end in pairwise(shifted_times(steps, shift)):
        x = moved(x, velocity(x, torch.full((len(x),), start, device=x.device)), start, end)
    return x


def shifted_times(steps: int, shift: float) -> list[float]:
    """Times between steps of Euler's method, from 1 to 0.

    Args:
        steps: number of steps, at least 1.
        shift: 1 for equal steps; above 1 they are finer near the noise (SD3; Esser et al., 2024):
            a time t of equal steps becomes shift * t / (1 + (shift - 1) * t).

    Raises:
        ValueError: no step.
    """
    return [shift * time / (1 + (shift - 1) * time) for time in times("euler", steps)]
