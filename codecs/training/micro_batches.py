"""Micro-batches: a batch processed part by part, to save memory."""

from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.codecs.training.base import Terms


class MicroBatch(NamedTuple):
    """Some items of a batch, and their share of it."""

    signal: Tensor
    share: float


def split(signal: Tensor, count: int) -> list[MicroBatch]:
    """At most ``count`` parts of a signal [batch, ...], with their shares."""
    return [MicroBatch(part, len(part) / len(signal)) for part in signal.chunk(count)]


def means_over(terms: list[Terms], parts: list[MicroBatch]) -> Terms:
    """Means over the batch of terms of its micro-batches, without gradients."""
    return {
        name: torch.stack(
            [part.share * term[name].detach() for term, part in zip(terms, parts, strict=True)]
        ).sum()
        for name in terms[0]
    }
