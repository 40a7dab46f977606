"""Timing of two ways to do the same, in turn, so that both meet the same machine."""

import time
from collections.abc import Callable
from typing import NamedTuple

import torch

MIN_SECONDS = 0.2  # of one measurement; short work is repeated up to it


class Result(NamedTuple):
    """A comparison.

    Attributes:
        name: what was compared.
        ours: our time (or size), in ``unit``.
        baseline: the baseline's.
        baseline_name: what the baseline is.
        unit: of both.
        speedup: baseline / ours; above 1, ours is faster or smaller.
        note: what was found equal, and sizes.
    """

    name: str
    ours: float
    baseline: float
    baseline_name: str
    unit: str
    speedup: float
    note: str = ""


def compare(
    name: str,
    ours: Callable[[], object],
    baseline: Callable[[], object],
    *,
    baseline_name: str,
    note: str = "",
    rounds: int = 9,
) -> Result:
    """Median times of two functions, called in turn.

    Args:
        name: what is compared.
        ours: does it our way; must wait for its device itself.
        baseline: does it the other way.
        baseline_name: what the other way is.
        note: kept in the result.
        rounds: measurements of each.
    """
    with torch.no_grad():
        repeats = [_repeats(work) for work in (ours, baseline)]
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            for work, count, kept in zip((ours, baseline), repeats, times, strict=True):
                kept.append(_seconds(work, count))
    mine, theirs = (1e3 * sorted(kept)[rounds // 2] for kept in times)
    return Result(name, mine, theirs, baseline_name, "ms", theirs / mine, note)


def _repeats(work: Callable[[], object]) -> int:
    """Calls that fill a measurement, after a first one that warms up."""
    if _seconds(work, 1) > 10 * MIN_SECONDS:
        return 1
    return max(1, round(MIN_SECONDS / max(1e-6, _seconds(work, 1))))


def _seconds(work: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        work()
    return (time.perf_counter() - start) / count
