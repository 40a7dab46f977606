"""Codec: an encoder, a quantizer and a decoder, and the contract that every codec keeps.

A codec is a plain module: it loads, runs and exports without Lightning. `CodecTask` trains it.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.codecs.bundle import fingerprint
from intaglio.codecs.decoders.base import Decoder
from intaglio.codecs.encoders.base import Encoder
from intaglio.codecs.part import Part
from intaglio.codecs.quantizers.base import Quantized, Quantizer
from intaglio.codecs.tokens import Tokens


class Reconstruction(NamedTuple):
    """A signal after encoding, quantizing and decoding, with what the quantizer said."""

    values: Tensor
    quantized: Quantized


class Codec(Part):
    """Base of all codecs: encoder → quantizer → decoder.

    Attributes:
        name: name of the system, for people; `fingerprint` is what tells codecs apart.
    """

    def __init__(self, encoder: Encoder, quantizer: Quantizer, decoder: Decoder, name: str) -> None:
        """Compose a codec of its three parts.

        Raises:
            ValueError: the parts disagree on the latent size or the hop length.
        """
        super().__init__()
        if not encoder.dim == quantizer.dim == decoder.dim:
            raise ValueError(
                f"latent sizes differ: encoder {encoder.dim}, quantizer {quantizer.dim}, "
                f"decoder {decoder.dim}"
            )
        if encoder.hop_length != decoder.hop_length:
            raise ValueError(
                f"hop lengths differ: encoder {encoder.hop_length}, decoder {decoder.hop_length}"
            )
        self.encoder = encoder
        self.quantizer = quantizer
        self.decoder = decoder
        self.name = name

    @property
    def vocab(self) -> tuple[int, ...]:
        """Codebook size of each group of ids."""
        return self.quantizer.vocab

    @property
    def bits_per_position(self) -> float:
        """Bits that one position of the token sequence carries."""
        return sum(math.log2(size) for size in self.vocab)

    @property
    def fingerprint(self) -> str:
        """Hash of configuration and weights, 32 hexadecimal digits; equal codecs, equal tokens."""
        return fingerprint(self)

    def encode(self, x: Tensor, lengths: Tensor | None = None) -> Tokens:
        """Tokens of a batch of signals; see the sub-class for the layout of ``x``."""
        raise NotImplementedError

    def decode(self, tokens: Tokens) -> Tensor:
        """Signals of tokens, in the layout that `encode` takes."""
        raise NotImplementedError

    @contextmanager
    def _inference(self) -> Iterator[None]:
        """No gradients, and evaluation mode for the time being: nothing a caller sees changes."""
        training = [module for module in self.modules() if module.training]
        for module in training:
            module.training = False
        try:
            with torch.no_grad():
                yield
        finally:
            for module in training:
                module.training = True


class AudioCodec(Codec):
    """Codec of waveforms.

    Args:
        encoder: waveform to latents.
        quantizer: latents to ids.
        decoder: latents to waveform.
        sample_rate: samples per second of the waveforms.
        channels: channels of the waveforms.
        name: name of the system.
    """

    def __init__(
        self,
        encoder: Encoder,
        quantizer: Quantizer,
        decoder: Decoder,
        *,
        sample_rate: int,
        channels: int = 1,
        name: str = "audio codec",
    ) -> None:
        super().__init__(encoder, quantizer, decoder, name)
        self.sample_rate = sample_rate
        self.channels = channels

    @property
    def hop_length(self) -> int:
        """Samples per position."""
        return self.encoder.hop_length

    @property
    def frame_rate(self) -> float:
        """Positions per second."""
        return self.sample_rate / self.hop_length

    @property
    def bits_per_second(self) -> float:
        """Bits per second of audio, without entropy coding."""
        return self.frame_rate * self.bits_per_position

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Reconstruction:
        """Encode, quantize and decode for training.

        Args:
            x: waveform, [batch, channels, samples], in [-1, 1].
            lengths: int64 [batch], samples of each item; all of them if None.
        """
        mask = None if lengths is None else self._mask(lengths, x.shape[-1])
        quantized = self.quantizer(self.encoder(x, lengths), mask)
        return Reconstruction(self.decoder(quantized.values, mask)[..., : x.shape[-1]], quantized)

    def encode(self, x: Tensor, lengths: Tensor | None = None) -> Tokens:
        """Tokens of a batch of waveforms; an item's tokens do not depend on its neighbours.

        Args:
            x: waveform, float [batch, channels, samples], in [-1, 1], at ``sample_rate``.
            lengths: int64 [batch], samples of each item; all of them if None.

        Returns:
            Tokens with ceil(samples / hop_length) positions.

        Raises:
            ValueError: a wrong shape or dtype, no samples, or lengths that do not fit.
        """
        self._check(x, lengths)
        with self._inference():
            ids = self.quantizer.encode_ids(self.encoder(x, lengths))
        if lengths is None:
            lengths = torch.full((x.shape[0],), x.shape[-1], device=x.device)
        mask = self._mask(lengths, x.shape[-1])
        return Tokens(ids * mask.unsqueeze(-1), mask, self.vocab, lengths)

    def decode(self, tokens: Tokens) -> Tensor:
        """Waveform of tokens, float [batch, channels, samples]; zero behind the end of an item.

        Raises:
            ValueError: the tokens are not of this codec's vocabulary or break their contract.
        """
        if tokens.vocab != self.vocab:
            raise ValueError(f"tokens of vocabulary {tokens.vocab}, the codec has {self.vocab}")
        tokens.check()
        mask = None if bool(tokens.mask.all()) else tokens.mask
        with self._inference():
            y = self.decoder(self.quantizer.decode_ids(tokens.ids), mask)
        lengths = tokens.lengths
        if lengths is None:
            lengths = tokens.mask.sum(1) * self.hop_length
        y = y[..., : int(lengths.max())]
        inside = torch.arange(y.shape[-1], device=y.device) < lengths.unsqueeze(1)
        return y * inside.unsqueeze(1)

    def frames(self, lengths: Tensor) -> Tensor:
        """Positions that items of ``lengths`` samples take: ceil(length / hop_length)."""
        return -(-lengths // self.hop_length)

    def _mask(self, lengths: Tensor, samples: int) -> Tensor:
        positions = -(-samples // self.hop_length)
        return torch.arange(positions, device=lengths.device) < self.frames(lengths).unsqueeze(1)

    def _check(self, x: Tensor, lengths: Tensor | None) -> None:
        if x.dim() != 3 or not x.is_floating_point() or x.shape[1] != self.channels:
            raise ValueError(
                f"{self.name} takes float waveforms [batch, {self.channels}, samples], got "
                f"{x.dtype} {list(x.shape)}"
            )
        if x.shape[0] == 0 or x.shape[-1] == 0:
            raise ValueError(f"there is nothing to encode in a waveform of shape {list(x.shape)}")
        if lengths is None:
            return
        if lengths.shape != x.shape[:1] or lengths.is_floating_point():
            raise ValueError(f"lengths must be integer [{x.shape[0]}], got {list(lengths.shape)}")
        if int(lengths.min()) < 1 or int(lengths.max()) > x.shape[-1]:
            raise ValueError(
                f"lengths must lie in [1, {x.shape[-1]}], got {int(lengths.min())} to "
                f"{int(lengths.max())}"
            )
