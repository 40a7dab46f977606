"""Encoder: a signal to a sequence of latent vectors."""

from torch import Tensor

from intaglio.codecs.part import Part


class Encoder(Part):
    """Base of all encoders. Sub-classes set ``dim`` and ``hop_length``.

    Attributes:
        dim: size of a latent vector.
        hop_length: input samples per latent vector.
    """

    dim: int
    hop_length: int

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Latents, [batch, ceil(samples / hop_length), dim], of a waveform.

        Args:
            x: waveform, [batch, channels, samples], in [-1, 1].
            lengths: int64 [batch], samples of each item; what lies behind them has no influence on
                the first ceil(length / hop_length) latents of the item.
        """
        raise NotImplementedError
