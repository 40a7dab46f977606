"""Encoder: a signal to a sequence of latent vectors."""

from torch import Tensor

from intaglio.codecs.part import Part
from intaglio.codecs.streaming import Stream


class Encoder(Part):
    """Base of all encoders. Sub-classes set ``dim`` and ``hop_length``.

    Attributes:
        dim: size of a latent vector.
        hop_length: input samples per latent vector.
        multiple: latents come in multiples of it.
    """

    dim: int
    hop_length: int
    multiple: int = 1

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Latents, [batch, positions, dim], of a waveform.

        The positions are ceil(samples / hop_length), rounded up to ``multiple``.

        Args:
            x: waveform, [batch, channels, samples], in [-1, 1].
            lengths: int64 [batch], samples of each item; what lies behind them has no influence on
                the first ceil(length / hop_length) latents of the item.
        """
        raise NotImplementedError

    def stream(self) -> Stream | None:
        """Waveform [batch, channels, samples] to latents [batch, dim, steps], block by block.

        None if the encoder can only see whole signals.
        """
        return None
