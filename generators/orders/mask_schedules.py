"""Shares of masked tokens: pure functions of time, and counts of a drawing."""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Literal

MaskSchedule = Literal["arccos", "cosine", "linear", "square", "root"]

SHARES: dict[str, Callable[[float], float]] = {
    "arccos": lambda time: 2 / math.pi * math.acos(time),
    "cosine": lambda time: math.cos(math.pi / 2 * time),
    "linear": lambda time: 1 - time,
    "square": lambda time: 1 - time**2,
    "root": lambda time: 1 - math.sqrt(time),
}


def share_masked(schedule: MaskSchedule, time: float) -> float:
    """Share of tokens that is masked at a time in [0, 1]: 1 at 0, 0 at 1 (MaskGIT; Chang, 2022)."""
    return SHARES[schedule](time)


def share_of_normal(uniform: float, *, least: float, standard_deviation: float) -> float:
    """Share of masked tokens normal around 1, truncated at both ends (MAR; Li et al., 2024).

    Args:
        uniform: in (0, 1); the value of the distribution function.
        least: smallest share; 1 is the largest.
        standard_deviation: before the truncation.
    """
    normal = NormalDist(1.0, standard_deviation)
    below = normal.cdf(least)
    return min(1.0, max(least, normal.inv_cdf(below + uniform * (0.5 - below))))


def counts(schedule: MaskSchedule, masked: int, steps: int) -> list[int]:
    """How many tokens are masked after each step: at least one fewer each time, 0 at the end.

    Items that have fewer tokens to draw than steps are done early.

    Args:
        schedule: of the shares.
        masked: before the first step.
        steps: of the drawing.
    """
    found, left = [], masked
    for step in range(steps):
        share = share_masked(schedule, (step + 1) / steps)
        # each step draws one at least, and leaves one for each that follows
        left = max(0, min(left - 1, max(math.floor(share * masked), steps - 1 - step)))
        found.append(left if step < steps - 1 else 0)
    return found
