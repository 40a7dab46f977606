"""Discriminator: scores that tell real signals from decoded ones."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from torch import Tensor

from intaglio.codecs.part import Part


class Judgement(NamedTuple):
    """What a discriminator gives, one entry per sub-discriminator.

    Attributes:
        logits: score maps; higher is more real. Shapes differ per sub-discriminator.
        features: hidden activations, first layer first, for feature matching.
    """

    logits: list[Tensor]
    features: list[list[Tensor]]


class Discriminator(Part):
    """Base of all discriminators."""

    def forward(self, x: Tensor) -> Judgement:
        """Judge waveforms, [batch, channels, samples], or images, [batch, channels, height, width],
        in [-1, 1]."""
        raise NotImplementedError


def joined_judgement(
    judges: Iterable[Callable[[Tensor], Any]], signals: Iterable[Tensor]
) -> Judgement:
    """Judgement of sub-discriminators, each on its signal; each gives features and score map."""
    judged = [judge(x) for judge, x in zip(judges, signals, strict=True)]
    return Judgement([scores for _, scores in judged], [features for features, _ in judged])
