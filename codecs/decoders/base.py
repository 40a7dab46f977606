"""Decoder: a sequence of latent vectors to a signal."""

from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.codecs.part import Part
from intaglio.codecs.streaming.state import State
from intaglio.codecs.streaming.streams import Stream


class Decoder(Part):
    """Base of all decoders. Sub-classes set ``dim`` and ``hop_length``.

    Attributes:
        dim: size of a latent vector.
        hop_length: output samples (of an image: pixels of a side) per latent vector.
        losses: names of the losses that the decoder adds to the training objective.
    """

    dim: int
    hop_length: int
    losses: tuple[str, ...] = ()

    @property
    def last_weight(self) -> Tensor | None:
        """Weight of the last layer, at which adaptive weights are measured; None for none."""
        return None


class AudioDecoder(Decoder):
    """Base of the decoders to waveforms.

    Attributes:
        causal: whether the samples of a latent depend on no later latents.
        first_latents: latents of the shortest chunk that a sequence may begin with; more than 1
            where a border mirrors what comes.
        delay: samples by which the output of a stream comes late, because later latents add to the
            last ones.
    """

    causal: bool = False
    first_latents: int = 1
    delay: int = 0

    def rest(self, state: State) -> Tensor:
        """The last ``delay`` samples of a stream, [batch, channels, delay].

        Args:
            state: of the streaming layers, by their names in the decoder, after the last step.
        """
        raise NotImplementedError

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

        None if the decoder needs whole sequences.
        """
        return None


class Decoding(NamedTuple):
    """Output of an image decoder in training.

    Attributes:
        values: images, [batch, channels, height, width]; of a generative decoder its estimate.
        losses: the decoder's own scalar terms of the training objective by name, not weighted.
    """

    values: Tensor
    losses: dict[str, Tensor]


class ImageDecoder(Decoder):
    """Base of the decoders to images, and to maps of latents of a frozen autoencoder.

    Attributes:
        takes_prefixes: whether the first positions of a sequence can be decoded without the others.
    """

    takes_prefixes: bool = False

    def forward(
        self,
        latents: Tensor,
        mask: Tensor | None = None,
        *,
        grid: tuple[int, int],
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Images, [batch, channels, rows * hop_length, columns * hop_length], in about [-1, 1].

        Args:
            latents: [batch, positions, dim].
            mask: bool [batch, positions]; latents where it is False have no influence. All count
                if None.
            grid: rows and columns.
            generator: of the noise that a generative decoder begins with, the same for every item;
                one of seed 0 if None.
        """
        raise NotImplementedError

    def learn(
        self, latents: Tensor, target: Tensor, mask: Tensor | None, *, grid: tuple[int, int]
    ) -> Decoding:
        """Decode for training, with a gradient; generative decoders compare with the target.

        Args:
            latents: as in `forward`.
            target: images as they should become.
            mask: as in `forward`.
            grid: as in `forward`.
        """
        return Decoding(self(latents, mask, grid=grid), {})
