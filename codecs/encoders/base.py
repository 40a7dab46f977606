"""Encoder: a signal to a sequence of latent vectors."""

from torch import Tensor

from intaglio.codecs.part import Part
from intaglio.codecs.streaming.streams import Stream


class Encoder(Part):
    """Base of all encoders. Sub-classes set ``dim`` and ``hop_length``.

    Attributes:
        dim: size of a latent vector.
        hop_length: input samples (of an image: pixels of a side) per latent vector.
    """

    dim: int
    hop_length: int


class AudioEncoder(Encoder):
    """Base of the encoders of waveforms.

    Attributes:
        multiple: latents come in multiples of it.
        causal: whether a latent depends on no sample behind its own hop.
        first_latents: latents of the shortest chunk that a signal may begin with; more than 1 where
            a border mirrors what comes.
    """

    multiple: int = 1
    causal: bool = False
    first_latents: int = 1

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

        None if the encoder needs whole signals.
        """
        return None


class ImageEncoder(Encoder):
    """Base of the encoders of images, and of maps of latents of a frozen autoencoder.

    Attributes:
        positions: latents of every image if they have no positions in it; None for one a square of
            ``hop_length`` pixels.
    """

    positions: int | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Latents, [batch, positions, dim]; of a grid row by row.

        Args:
            x: images, [batch, channels, height, width]; sides are multiples of ``hop_length``.
        """
        raise NotImplementedError
