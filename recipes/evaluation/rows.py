"""Rows of a comparison: a system with its scores, and what it made of the items."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from intaglio.codecs.tokens import Tokens
from intaglio.recipes.evaluation.scores import Scores


class Row(NamedTuple):
    """One system in a comparison.

    Attributes:
        system: its name.
        bits: that its receiver needs for a second of audio, or for an image; None if it did not run
            or has no such number.
        scores: by name of the metric; empty if it did not run.
        items: number of items measured.
        note: why it did not run; "" if it did.
        is_ours: it is a codec or a generator under test.
        facts: further fields of its JSON record.
    """

    system: str
    bits: float | None
    scores: Scores
    items: int
    note: str = ""
    is_ours: bool = False
    facts: Mapping[str, Any] = {}

    def mean(self, metric: str) -> float | None:
        """Mean of a metric by name; None if it was not measured."""
        return self.scores[metric].mean if metric in self.scores else None


class Output(NamedTuple):
    """What a system made of the items.

    Attributes:
        decoded: waveform, float32 [samples], or pixels, uint8 [3, height, width], of every item.
        bits: that the receiver needs for a second of audio, or for an image.
        tokens: of a codec under test, on the CPU: records of one or more items each.
        seconds: that encoding and decoding of each item took, if it was measured.
        facts: further fields of the JSON record.
    """

    decoded: Sequence[Tensor]
    bits: float
    tokens: Sequence[Tokens] = ()
    seconds: Sequence[float] = ()
    facts: Mapping[str, Any] = {}


class SystemResult(NamedTuple):
    """A row, and what the system made of the items; None if it did not run."""

    row: Row
    output: Output | None


class RoundTrip(NamedTuple):
    """An item after a classic codec.

    Attributes:
        decoded: waveform, float32 [samples], aligned with the original and as long; or pixels,
            uint8 [3, height, width].
        bits: what the receiver needed.
    """

    decoded: Tensor
    bits: int
