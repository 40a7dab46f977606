"""Discriminator: scores that tell real signals from decoded ones."""

from typing import NamedTuple

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
        """Judge a waveform, [batch, 1, samples], in [-1, 1]."""
        raise NotImplementedError
