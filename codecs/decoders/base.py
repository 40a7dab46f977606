"""Decoder: a sequence of latent vectors to a signal."""

from torch import Tensor

from intaglio.codecs.part import Part
from intaglio.codecs.streaming import Stream


class Decoder(Part):
    """Base of all decoders. Sub-classes set ``dim`` and ``hop_length``.

    Attributes:
        dim: size of a latent vector.
        hop_length: output samples per latent vector.
    """

    dim: int
    hop_length: int

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Tensor:
        """Waveform, [batch, channels, positions * hop_length], of latents [batch, positions, dim].

        Args:
            latents: quantized latents.
            mask: bool [batch, positions], True where a position belongs to its item (True first);
                masked positions have no influence on the samples of the others.
        """
        raise NotImplementedError

    def stream(self) -> Stream | None:
        """Latents [batch, dim, steps] to waveform [batch, channels, samples], block by block.

        None if the decoder can only see whole sequences.
        """
        return None
