"""Times two implementations in turn, so that both meet the same load of the machine."""

import time
from collections.abc import Callable
from typing import NamedTuple

import torch

MIN_SECONDS = 0.2  # of one measurement; short work is repeated up to it


class Timing(NamedTuple):
    """A comparison.

    Attributes:
        name: what was compared.
        ours: our time (or size), in ``unit``.
        baseline: the baseline's.
        baseline_name: what the baseline is.
        unit: of both numbers.
        speedup: baseline / ours; above 1, ours is faster or smaller.
        note: what was checked to be equal, and sizes.
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
) -> Timing:
    """Median times of two functions, called in turn.

    Args:
        name: what is compared.
        ours: runs our implementation; must wait for its device itself.
        baseline: runs the other one.
        baseline_name: what the other one is.
        note: part of the result.
        rounds: measurements of each.
    """
    with torch.no_grad():
        repeats = [_repeats(work) for work in (ours, baseline)]
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            for work, count, kept in zip((ours, baseline), repeats, times, strict=True):
                kept.append(_seconds(work, count))
    mine, theirs = (1e3 * sorted(kept)[rounds // 2] for kept in times)
    return Timing(name, mine, theirs, baseline_name, "ms", theirs / mine, note)


def _repeats(work: Callable[[], object]) -> int:
    """Calls that fill a measurement, after a first one to warm up."""
    if _seconds(work, 1) > 10 * MIN_SECONDS:
        return 1
    return max(1, round(MIN_SECONDS / max(1e-6, _seconds(work, 1))))


def _seconds(work: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        work()
    return (time.perf_counter() - start) / count
