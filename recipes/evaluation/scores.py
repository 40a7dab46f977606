"""What a metric is, and its mean over a set of items with its interval and its failures.

A number is never better than what it leaves out: items on which a metric cannot be computed are
counted with the reason, and a metric whose package is missing says so in place of its value.
"""

import importlib.util
import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

RESAMPLES = 1000
LEVEL = 0.95


class Pair(NamedTuple):
    """An original and what a system made of it.

    Attributes:
        reference: original waveform, float [samples], in [-1, 1].
        decoded: decoded waveform of the same length and rate, aligned in time.
        sample_rate: of both, in Hz.
        text: what is said in it; "" if unknown.
    """

    reference: Tensor
    decoded: Tensor
    sample_rate: int
    text: str = ""


class Score(NamedTuple):
    """A metric over a set of items.

    Attributes:
        mean: weighted mean over the items that could be measured; None if there are none.
        low: lower end of the bootstrap interval of the mean at `LEVEL`; None below two items.
        high: its upper end.
        measured: items measured.
        failures: items on which the metric could not be computed.
        reason: why the metric is absent, why the first failure failed, or, without failures, what
            qualifies the mean; "" if all went well.
    """

    mean: float | None
    low: float | None
    high: float | None
    measured: int
    failures: int
    reason: str = ""


Scores = dict[str, Score]


class Scored(Protocol):
    """A row of a table: a system with its scores."""

    @property
    def system(self) -> str:
        """Its name."""

    @property
    def scores(self) -> Scores:
        """By name of the metric; empty if it did not run."""

    @property
    def note(self) -> str:
        """Why it did not run; "" if it did."""


class Metric:
    """Base of all metrics: a callable from a `Pair` to a number.

    Attributes:
        name: key in tables and JSON.
        label: heading of its column.
        unit: unit of the number, "" if it has none.
        higher_is_better: direction.
        decimals: digits worth printing.
        intrusive: it compares with the original, and so says nothing of the original itself.
        packages: modules it imports beyond the dependencies of the package.
        extra: the extra of the package that installs them.
    """

    name: str
    label: str
    unit: str = ""
    higher_is_better: bool = True
    decimals: int = 3
    intrusive: bool = True
    packages: tuple[str, ...] = ()
    extra: str = ""

    def __call__(self, pair: Pair) -> float:
        """The value of one pair.

        Raises:
            ValueError: it cannot be computed for this pair; the message says why.
        """
        raise NotImplementedError

    def weight(self, pair: Pair) -> float:
        """Share of a pair in the mean, such as its number of words; 1 for most metrics."""
        return 1.0

    def absence(self) -> str:
        """What is missing and how to install it; "" if nothing is."""
        if missing := missing_packages(self.packages):
            return f"absent: pip install 'intaglio[{self.extra}]' (for {', '.join(missing)})"
        return ""


def missing_packages(names: Sequence[str]) -> list[str]:
    """Those of the modules that are not installed."""
    return [name for name in names if importlib.util.find_spec(name) is None]


def evaluate(pairs: Sequence[Pair], metrics: Sequence[Metric], seed: int = 0) -> Scores:
    """Every metric over all pairs.

    Args:
        pairs: originals and decoded waveforms.
        metrics: what to compute.
        seed: of the bootstrap.

    Returns:
        Score of each metric by name, in the order of ``metrics``.

    Raises:
        ValueError: a pair is not aligned: shapes differ or are not [samples].
    """
    for number, pair in enumerate(pairs):
        if pair.reference.dim() != 1 or pair.reference.shape != pair.decoded.shape:
            raise ValueError(
                f"pair {number}: original and decoded must both be [samples], got "
                f"{list(pair.reference.shape)} and {list(pair.decoded.shape)}"
            )
    return {metric.name: _score(pairs, metric, seed) for metric in metrics}


def bootstrap(values: Tensor, weights: Tensor, seed: int = 0) -> tuple[float, float]:
    """Interval of the weighted mean at `LEVEL`, over `RESAMPLES` draws of the items.

    Args:
        values: float [items].
        weights: float [items], positive.
        seed: same seed, same interval.
    """
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randint(len(values), (RESAMPLES, len(values)), generator=generator)
    means = (values * weights)[draws].sum(1) / weights[draws].sum(1)
    tail = (1 - LEVEL) / 2
    low, high = torch.quantile(means, torch.tensor([tail, 1 - tail], dtype=means.dtype)).tolist()
    return low, high


def _score(pairs: Sequence[Pair], metric: Metric, seed: int) -> Score:
    if reason := metric.absence():
        return Score(None, None, None, 0, 0, reason)
    values, weights, reasons = [], [], []
    for pair in pairs:
        try:
            value, weight = metric(pair), metric.weight(pair)
            if not math.isfinite(value):
                raise ValueError("not a finite number")
            values.append(value)
            weights.append(weight)
        except ValueError as error:
            reasons.append(str(error))
    return mean_score(values, weights, reasons, seed)


def mean_score(
    values: Sequence[float], weights: Sequence[float], reasons: Sequence[str], seed: int = 0
) -> Score:
    """Score of a metric by its values.

    Args:
        values: of the items that could be measured.
        weights: of the same items.
        reasons: why the others could not.
        seed: of the bootstrap.
    """
    reason = reasons[0] if reasons else ""
    if not values:
        return Score(None, None, None, 0, len(reasons), reason)
    value_tensor, weight_tensor = torch.tensor([values, weights], dtype=torch.float64).unbind()
    mean = float((value_tensor * weight_tensor).sum() / weight_tensor.sum())
    low, high = bootstrap(value_tensor, weight_tensor, seed) if len(values) > 1 else (None, None)
    return Score(mean, low, high, len(values), len(reasons), reason)
