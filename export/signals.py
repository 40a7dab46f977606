"""What export asks of each kind of signal: one class for waveforms, one for images."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from intaglio.codecs import AudioCodec, Codec, ImageCodec
from intaglio.codecs.decoders.tokens_only import TokensOnly
from intaglio.export.graph_modules import (
    DecoderGraph,
    ImageGraph,
    NoiseGraph,
    PrefixGraph,
    has_noise,
)

Axes = tuple[int, ...]


class Signal:
    """Base: the signal of a codec.

    Attributes:
        open_axes: axes of any size, of the signal and of the ids.
    """

    open_axes: tuple[Axes, Axes] = ((0,), (0,))

    def reason_against(self) -> str | None:
        """Why the codec cannot be exported, if so."""
        raise NotImplementedError

    def decoder(self) -> DecoderGraph:
        """The decoder as a module of plain tensors."""
        raise NotImplementedError

    def example(self) -> Axes:
        """Shape of an example."""
        raise NotImplementedError

    def shapes(self) -> list[list[int]]:
        """Shapes at which an export is compared with the codec."""
        raise NotImplementedError

    def draw(self, shape: Sequence[int], generator: Generator) -> Tensor:
        """A random signal, float32, in [-1, 1]."""
        raise NotImplementedError

    def size(self, x: Tensor) -> str:
        """Size of a signal, for people."""
        raise NotImplementedError

    def card(self, names: Sequence[str]) -> dict[str, Any]:
        """What a caller of the exported files needs to know; ``names`` are the decoder's inputs."""
        raise NotImplementedError


class WaveSignal(Signal):
    """Waveforms, [batch, channels, samples], of any length."""

    open_axes = ((0, 2), (0, 1))

    def __init__(self, codec: Codec) -> None:
        assert isinstance(codec, AudioCodec)
        self.codec = codec

    def reason_against(self) -> str | None:
        """Segments cannot be exported, nor what has no decoder."""
        if isinstance(self.codec.decoder, TokensOnly):
            return "only encodes, and an export takes an encoder and a decoder"
        if self.codec.segments is None and not self.codec.normalise:
            return None
        return "codes segments by their loudness, which no exported graph holds yet"

    def decoder(self) -> DecoderGraph:
        """Ids to waveforms."""
        return DecoderGraph(self.codec)

    def example(self) -> Axes:
        """Two waveforms of an odd length."""
        return 2, self.codec.channels, 21 * self.codec.hop_length + 3

    def shapes(self) -> list[list[int]]:
        """Ten lengths, alone and as batches of three: the shortest ones, those around a hop, odd
        ones, and about two seconds."""
        hop = self.codec.hop_length
        lengths = [1, 2, hop - 1, hop, hop + 1, 2 * hop]
        lengths += [5 * hop + 3, 12 * hop - 1, 33 * hop, 101 * hop + 7]
        return [[batch, self.codec.channels, samples] for samples in lengths for batch in (1, 3)]

    def draw(self, shape: Sequence[int], generator: Generator) -> Tensor:
        """Noise and noise-modulated tones at several levels."""
        noise = torch.randn(*shape, generator=generator)
        pitch = 0.01 + 0.05 * torch.rand(shape[0], 1, 1, generator=generator)
        tone = torch.sin(2 * torch.pi * pitch * torch.arange(shape[-1]))
        level = 10 ** (-2 * torch.rand(shape[0], 1, 1, generator=generator))
        return level * (0.5 * tone + 0.1 * noise).clamp(-1, 1)

    def size(self, x: Tensor) -> str:
        """Number of samples."""
        return f"{x.shape[-1]} samples"

    def card(self, names: Sequence[str]) -> dict[str, Any]:
        """Rates, and the layout of the waveform."""
        return {
            "sample_rate": self.codec.sample_rate,
            "channels": self.codec.channels,
            "hop_length": self.codec.hop_length,
            "open_axes": ["batch", "samples", "positions"],
            "wave": "float32 [batch, channels, samples], what the encoder takes and the decoder "
            "gives",
        }


class ImageSignal(Signal):
    """Images, [batch, 3, height, width], of the codec's size."""

    def __init__(self, codec: Codec) -> None:
        assert isinstance(codec, ImageCodec)
        self.codec = codec

    def reason_against(self) -> str | None:
        """An autoencoder around the codec cannot be exported."""
        if self.codec.autoencoder is None:
            return None
        return "works on the latents of an autoencoder, which no exported graph holds yet"

    def decoder(self) -> DecoderGraph:
        """Ids, and a mask of them or noise if it takes one, to images."""
        if self.codec.prefixes != "none":
            return PrefixGraph(self.codec)
        return NoiseGraph(self.codec) if has_noise(self.codec.decoder) else ImageGraph(self.codec)

    def example(self) -> Axes:
        """Two images."""
        return 2, 3, self.codec.image_size, self.codec.image_size

    def shapes(self) -> list[list[int]]:
        """Four batches."""
        return [[batch, 3, *self.example()[2:]] for batch in (1, 1, 3, 2)]

    def draw(self, shape: Sequence[int], generator: Generator) -> Tensor:
        """Noise and waves of colour at several contrasts."""
        noise = torch.randn(*shape, generator=generator)
        rows, columns, phase = torch.rand(3, *shape[:2], 1, 1, generator=generator)
        down, across = (torch.linspace(0, 1, size) for size in shape[2:])
        waves = torch.sin(20 * (rows * down.unsqueeze(1) + columns * across + phase))
        contrast = 10 ** (-torch.rand(shape[0], 1, 1, 1, generator=generator))
        return contrast * (0.7 * waves + 0.2 * noise).clamp(-1, 1)

    def size(self, x: Tensor) -> str:
        """Number of images and pixels."""
        return f"{x.shape[0]} x {x.shape[2]} x {x.shape[3]} pixels"

    def card(self, names: Sequence[str]) -> dict[str, Any]:
        """Sizes, and the layout of the image, the mask and the noise."""
        side, hop = self.codec.image_size, self.codec.hop_length
        card: dict[str, Any] = {
            "image_size": [side, side],
            "hop_length": hop,
            "positions": self.codec.positions,
            "open_axes": ["batch"],
            "image": f"float32 [batch, 3, {side}, {side}] in [-1, 1], what the encoder takes and "
            "the decoder gives",
        }
        if "mask" in names:
            card["mask"] = (
                "bool [batch, positions], which first ids count, what the decoder takes after the "
                "ids"
            )
        if "noise" in names:
            shape = [1, self.codec.quantizer.dim, side // hop, side // hop]
            card["noise"] = (
                f"float32 {shape}, standard normal, what the decoder takes after the ids"
            )
        return card


# Kinds of signals by the name that codecs give them.
SIGNALS: dict[str, type[WaveSignal] | type[ImageSignal]] = {
    "wave": WaveSignal,
    "image": ImageSignal,
}


def signal_of(codec: Codec) -> Signal:
    """The signal of a codec.

    Raises:
        ValueError: signals of this kind cannot be exported.
    """
    if codec.signal not in SIGNALS:
        raise ValueError(f"{codec.name} cannot be exported: it codes a {codec.signal}")
    return SIGNALS[codec.signal](codec)
