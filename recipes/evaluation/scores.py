"""What a metric is, and its mean over a set of items with its interval and its failures.

A number is never better than what it leaves out: items on which a metric cannot be computed are
counted with the reason, and a metric whose package is missing says so instead of a value.
"""

import importlib.util
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.recipes.evaluation.items import ItemSet

RESAMPLES = 1000
LEVEL = 0.95


class Pair(NamedTuple):
    """An original and what a system made of it.

    Attributes:
        reference: original waveform, float [samples], in [-1, 1]; or pixels, uint8 [3, height,
            width].
        decoded: what was decoded, of the same shape; a waveform is aligned in time.
        sample_rate: of waveforms, in Hz; 0 of images.
        text: transcript or caption; "" if unknown.
    """

    reference: Tensor
    decoded: Tensor
    sample_rate: int = 0
    text: str = ""


class Score(NamedTuple):
    """A metric over a set of items.

    Attributes:
        mean: weighted mean over the items that could be measured; None if there are none.
        low: lower end of the bootstrap interval of the mean at `LEVEL`; None below two items, or if
            the metric is one number of the whole set.
        high: its upper end.
        measured: items measured.
        failures: items on which the metric could not be computed.
        reason: why the metric is absent, why the first failure failed, or, without failures, what
            qualifies the mean; "" if all went well.
        is_upper_bound: the quantity is at most the mean.
    """

    mean: float | None
    low: float | None
    high: float | None
    measured: int
    failures: int
    reason: str = ""
    is_upper_bound: bool = False

    @classmethod
    def absent(cls, reason: str, *, failures: int = 0) -> "Score":
        """No value, and why."""
        return cls(None, None, None, 0, failures, reason)

    @classmethod
    def of_set(cls, value: float, items: int, reason: str = "") -> "Score":
        """One number of a whole set, without an interval."""
        return cls(value, None, None, items, 0, reason)


Scores = dict[str, Score]


class Metric:
    """Base of all metrics: a callable from a `Pair` to a number, or one number of two sets.

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

    def score(self, originals: ItemSet, decoded: ItemSet, seed: int = 0) -> Score:
        """The metric over two sets of the same items; here the mean over the pairs.

        Args:
            originals: as they were read.
            decoded: as a system made them.
            seed: of the bootstrap.

        Raises:
            ValueError: a pair is not aligned: shapes differ, or a waveform is not [samples].
        """
        aligned = list(pairs(originals, decoded))
        if reason := self.absence():
            return Score.absent(reason)
        values, weights, reasons = [], [], []
        for pair in aligned:
            try:
                value, weight = self(pair), self.weight(pair)
                if not math.isfinite(value):
                    raise ValueError("not a finite number")
                values.append(value)
                weights.append(weight)
            except ValueError as error:
                reasons.append(str(error))
        return mean_score(values, weights=weights, reasons=reasons, seed=seed)


def pairs(originals: ItemSet, decoded: ItemSet) -> Iterator[Pair]:
    """Each original with what was decoded.

    Raises:
        ValueError: a pair is not aligned: shapes differ, or a waveform is not [samples].
    """
    items = zip(originals.items, decoded.items, strict=True)
    for number, (one, other) in enumerate(items):
        shapes = one.content.shape, other.content.shape
        if shapes[0] != shapes[1] or (one.sample_rate and len(shapes[0]) != 1):
            raise ValueError(
                f"pair {number}: original and decoded must both be of one shape, and waveforms "
                f"[samples]; got {list(shapes[0])} and {list(shapes[1])}"
            )
        yield Pair(one.content, other.content, one.sample_rate, one.text)


def missing_packages(names: Sequence[str]) -> list[str]:
    """Those of the modules that are not installed."""
    return [name for name in names if importlib.util.find_spec(name) is None]


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


def mean_score(
    values: Sequence[float],
    *,
    weights: Sequence[float] | None = None,
    reasons: Sequence[str] = (),
    seed: int = 0,
) -> Score:
    """Score of a metric by its values.

    Args:
        values: of the items that could be measured.
        weights: of the same items; all alike if None.
        reasons: why the others could not.
        seed: of the bootstrap.
    """
    reason = reasons[0] if reasons else ""
    if not values:
        return Score.absent(reason, failures=len(reasons))
    x = torch.tensor(values, dtype=torch.float64)
    w = torch.ones_like(x) if weights is None else torch.tensor(weights, dtype=torch.float64)
    mean = float((x * w).sum() / w.sum())
    low, high = bootstrap(x, w, seed) if len(values) > 1 else (None, None)
    return Score(mean, low, high, len(values), len(reasons), reason)
