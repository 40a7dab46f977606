"""Losses between a decoded signal and its original, and between judgements of a discriminator."""

from torch import Tensor

from intaglio.codecs.discriminators.base import Judgement
from intaglio.codecs.part import Part


class ReconstructionLoss(Part):
    """Base of the losses that compare waveforms, or images."""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Scalar distance of signals of one shape; ``output`` gets a gradient."""
        raise NotImplementedError


class AdversarialLoss(Part):
    """Base of the two-sided losses of a generative adversarial game."""

    def discriminator(self, real: Judgement, fake: Judgement) -> Tensor:
        """Scalar loss that trains the discriminator."""
        raise NotImplementedError

    def generator(self, fake: Judgement) -> Tensor:
        """Scalar loss that trains the generator to be judged real."""
        raise NotImplementedError
