"""Steps along a flow from noise to data, one network evaluation each.

Euler's method follows the velocity. ``sde`` (SiT; Ma et al., 2024, as in xAR) also removes some of
the noise that the velocity tells and puts as much fresh noise in its place, which corrects earlier
errors: Euler and Maruyama's method with a diffusion of twice the time. Its last step follows the
velocity alone, to the data that are expected, where the releases drop the fresh noise only.
"""

from typing import Literal, get_args

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
    """Points one step on.

    Args:
        x: points, ``start * noise + (1 - start) * data``.
        velocity: told there, of ``noise - data``.
        start: time of the points.
        end: time after the step, earlier.
        noise: fresh, standard normal, for ``sde``; None for Euler's method, and for the step to 0.
    """
    span = start - end
    if noise is None:
        return x - span * velocity
    told = x + (1 - start) * velocity  # the noise within the points
    return x - span * (velocity + told) + (2 * start * span) ** 0.5 * noise
