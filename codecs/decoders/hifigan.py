"""HiFi-GAN's generator (Kong et al., NeurIPS 2020) as a decoder, as SimCodec uses it."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from intaglio.codecs.decoders.base import AudioDecoder
from intaglio.codecs.layers.conv1d import Conv1d
from intaglio.codecs.layers.residual1d import DILATIONS, KERNELS, HiFiGANBlock
from intaglio.codecs.layers.transposed1d import ConvTranspose1d


class HiFiGANDecoder(AudioDecoder):
    """Transposed convolutions that halve the channels, and the mean of blocks of several kernels.

    The kernel of a transposed convolution has twice as many taps as its stride.

    Args:
        dim: size of a latent vector.
        strides: reductions of the encoder, in its order; undone from the last to the first.
        channels: waveform channels.
        width: channels of the first convolution.
        kernels: taps of the blocks of a stage.
        dilations: of each block, see `HiFiGANBlock`.
    """

    def __init__(
        self,
        dim: int = 512,
        strides: Sequence[int] = (2, 4, 5, 8),
        *,
        channels: int = 1,
        width: int = 512,
        kernels: Sequence[int] = KERNELS,
        dilations: Sequence[int] = DILATIONS,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.hop_length = math.prod(strides)
        self.strides, self.kernels = tuple(reversed(strides)), tuple(kernels)
        self.stem = Conv1d(dim, width, 7, pad_mode="constant")
        self.ups = nn.ModuleList()
        self.blocks = nn.ModuleList()
        for stride in self.strides:
            self.ups.append(ConvTranspose1d(width, width // 2, stride))
            width //= 2
            self.blocks.extend(HiFiGANBlock(width, kernel, dilations) for kernel in kernels)
        self.head = Conv1d(width, channels, 7, pad_mode="constant")
        self.activation = nn.LeakyReLU(0.1)

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Tensor:
        """Waveform [batch, channels, positions * hop_length] in [-1, 1]; see `AudioDecoder`."""
        lengths = None if mask is None else mask.sum(1)
        x = self.stem(latents.transpose(1, 2), lengths)
        count = len(self.kernels)
        for stage, (up, stride) in enumerate(zip(self.ups, self.strides, strict=True)):
            x = up(self.activation(x), lengths)
            lengths = None if lengths is None else lengths * stride
            blocks = self.blocks[stage * count : (stage + 1) * count]
            x = torch.stack([block(x, lengths) for block in blocks]).mean(0)
        return torch.tanh(self.head(self.activation(x), lengths))
