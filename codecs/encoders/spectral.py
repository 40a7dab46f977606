"""Spectral encoder: ConvNeXt blocks (Liu et al., 2022) over a log-magnitude spectrogram.

The counterpart of Vocos' decoder (Siuzdak, 2023), as APCodec (Ai et al., 2024) has one for
magnitudes: all layers run near the rate of the tokens, so they have ten times the parameters of a
convolutional encoder of waveforms that takes as long. The phase is not seen: the decoder makes one.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.encoders.base import AudioEncoder
from intaglio.codecs.layers.conv1d import Conv1d
from intaglio.codecs.layers.stft import fourier_convolution
from intaglio.codecs.streaming.streams import Blocks, Stream, Sum, chain

FLOOR = 1e-8  # of the squared magnitudes
CENTRE, SPREAD = -6.5, 4.3  # of their logarithms, in speech of peaks between -20 and -1 dB


class SpectralEncoder(AudioEncoder):
    """Frames of a spectrogram to latents, in stages between which the rate is reduced.

    Args:
        dim: size of a latent vector.
        frame_hop: samples from one frame of the spectrogram to the next.
        strides: reduction of the rate of frames between two stages; the hop length is their
            product times ``frame_hop``.
        num_layers: blocks of each stage, one stage more than strides.
        n_fft: samples of a frame, under a Hann window.
        width: channels of all blocks.
        intermediate: hidden size of a block.
        final_norm: whether to normalise each latent vector to mean 0 and variance 1 (layer
            normalisation without weights), so that a fixed grid such as FSQ's fits from the start.
        causal: whether a latent depends on no sample behind its own hop, so that it can be
            streamed.

    Raises:
        ValueError: strides and stages do not fit together.
    """

    def __init__(
        self,
        dim: int = 512,
        frame_hop: int = 128,
        strides: Sequence[int] = (2,),
        *,
        num_layers: Sequence[int] = (2, 4),
        n_fft: int = 512,
        width: int = 256,
        intermediate: int = 768,
        final_norm: bool = False,
        causal: bool = False,
    ) -> None:
        super().__init__()
        if len(num_layers) != len(strides) + 1:
            raise ValueError(
                f"{len(strides)} strides stand between {len(strides) + 1} stages, got "
                f"num_layers {list(num_layers)}"
            )
        self.dim = dim
        self.hop_length = frame_hop * math.prod(strides)
        self.rates = (frame_hop, 1, *strides)[: len(num_layers)]  # reductions before each stage
        self.causal = causal
        self.frames = fourier_convolution(n_fft, frame_hop, causal=causal)
        scale = 1 / sum(num_layers)
        channels = [n_fft // 2 + 1] + [width] * len(strides)
        self.stages = nn.ModuleList(
            _Stage(size, width, stride, [intermediate] * count, scale, causal)
            for size, stride, count in zip(channels, (1, *strides), num_layers, strict=True)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, dim)
        self.final_norm = (
            nn.LayerNorm(dim, elementwise_affine=False) if final_norm else nn.Identity()
        )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Latents, [batch, ceil(samples / hop_length), dim]; see `AudioEncoder`."""
        x = _log_magnitudes(self.frames(x, lengths))
        for stage, rate in zip(self.stages, self.rates, strict=True):
            lengths = None if lengths is None else -(-lengths // rate)
            x = stage(x, lengths)
        return self._latents(x).transpose(1, 2)

    def stream(self) -> Stream:
        """The encoder, block by block."""
        ends = Blocks(_log_magnitudes, 1), Blocks(self._latents, 1)
        return chain(self.frames, ends[0], *self.stages, ends[1])

    def _latents(self, x: Tensor) -> Tensor:
        x = self.head(self.norm(x.transpose(1, 2)))
        return self.final_norm(x).transpose(1, 2)


class _Stage(nn.Module):
    """A convolution that may reduce the rate, a normalisation, and ConvNeXt blocks."""

    def __init__(
        self,
        channels: int,
        width: int,
        stride: int,
        sizes: Sequence[int],
        scale: float,
        causal: bool,
    ) -> None:
        super().__init__()
        taps = 7 if stride == 1 else 2 * stride
        self.down = Conv1d(
            channels, width, taps, stride=stride, causal=causal, pad_mode="constant", norm="none"
        )
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(_Block(width, size, scale, causal) for size in sizes)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[batch, channels, time] → [batch, width, ceil(time / stride)]."""
        x = self._normed(self.down(x, lengths))
        lengths = None if lengths is None else -(-lengths // self.down.stride)
        for block in self.blocks:
            x = block(x, lengths)
        return x

    def stream(self) -> Stream:
        return chain(self.down, self._normed, *self.blocks)

    def _normed(self, x: Tensor) -> Tensor:
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


class _Block(nn.Module):
    """Depthwise convolution, normalisation and a two-layer perceptron with a scaled skip."""

    def __init__(self, width: int, intermediate: int, scale: float, causal: bool) -> None:
        super().__init__()
        self.depthwise = Conv1d(
            width, width, 7, groups=width, causal=causal, pad_mode="constant", norm="none"
        )
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, intermediate)
        self.reduce = nn.Linear(intermediate, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[batch, width, time] → the same shape."""
        return x + self._mixed(self.depthwise(x, lengths))

    def stream(self) -> Stream:
        return Sum(chain(self.depthwise, self._mixed), Stream())

    def _mixed(self, x: Tensor) -> Tensor:
        x = self.reduce(F.gelu(self.expand(self.norm(x.transpose(1, 2)))))
        return (self.scale * x).transpose(1, 2)


def _log_magnitudes(x: Tensor) -> Tensor:
    """[batch, 2 * bins, frames] → [batch, bins, frames], about standard normal for speech."""
    real, imaginary = x.to(torch.promote_types(x.dtype, torch.float32)).chunk(2, dim=1)
    energy = (real.square() + imaginary.square()).clamp(min=FLOOR)
    return ((energy.log() - CENTRE) / SPREAD).to(x.dtype)
