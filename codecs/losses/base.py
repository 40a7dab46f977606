"""Losses between a decoded signal and its original, and between outputs of a discriminator."""

from torch import Tensor

from intaglio.codecs.discriminators.base import DiscriminatorOutput
from intaglio.codecs.part import Part


class ReconstructionLoss(Part):
    """Base of the losses that compare waveforms, or images."""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Scalar distance of signals of one shape; ``output`` gets a gradient."""
        raise NotImplementedError


class LatentLoss(Part):
    """Base of the losses of the decoder's input; their parameters are trained as well.

    Attributes:
        semantic: whether it takes the part of the input that semantic levels give, not all of it.
    """

    semantic: bool = False

    def forward(self, latents: Tensor, target: Tensor) -> Tensor:
        """Scalar loss of quantized latents, [batch, positions, dim], of a signal that was encoded.

        Args:
            latents: get a gradient.
            target: waveforms or images.
        """
        raise NotImplementedError


class AdversarialLoss(Part):
    """Base of the two-sided losses of a generative adversarial game."""

    def discriminator(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        """Scalar loss that trains the discriminator."""
        raise NotImplementedError

    def generator(self, fake: DiscriminatorOutput) -> Tensor:
        """Scalar loss that trains the generator to be scored as real."""
        raise NotImplementedError
