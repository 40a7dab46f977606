"""Discriminator: scores that distinguish real signals from decoded ones."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from torch import Tensor

from intaglio.codecs.part import Part


class DiscriminatorOutput(NamedTuple):
    """What a discriminator gives, one entry per sub-discriminator.

    Attributes:
        logits: score maps; higher is more real. Shapes differ per sub-discriminator.
        features: hidden activations, first layer first, for feature matching.
    """

    logits: list[Tensor]
    features: list[list[Tensor]]


class Discriminator(Part):
    """Base of all discriminators."""

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        """Score waveforms, [batch, channels, samples], or images, [batch, channels, height, width],
        in [-1, 1]."""
        raise NotImplementedError


def joined_outputs(
    discriminators: Iterable[Callable[[Tensor], Any]], signals: Iterable[Tensor]
) -> DiscriminatorOutput:
    """Outputs of sub-discriminators, each on its signal; each gives features and a score map."""
    outputs = [of(x) for of, x in zip(discriminators, signals, strict=True)]
    return DiscriminatorOutput(
        [scores for _, scores in outputs], [features for features, _ in outputs]
    )
