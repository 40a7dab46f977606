"""SimCodec's encoder: HiFi-GAN's generator turned round (GenSE; Yao et al., ICLR 2025)."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from intaglio.codecs.encoders.base import AudioEncoder
from intaglio.codecs.layers.conv1d import Conv1d
from intaglio.codecs.layers.residual1d import DILATIONS, KERNELS, HiFiGANBlock


class HiFiGANEncoder(AudioEncoder):
    """Strided convolutions that double the channels, and residual blocks of several kernels.

    The blocks of a stage all see its input; after each, the sum so far is normalised.

    Args:
        dim: size of a latent vector.
        strides: reduction of each stage, first stage first; their product is the hop length.
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
        width: int = 32,
        kernels: Sequence[int] = KERNELS,
        dilations: Sequence[int] = DILATIONS,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.hop_length = math.prod(strides)
        self.strides, self.kernels = tuple(strides), tuple(kernels)
        self.stem = Conv1d(channels, width, 7, pad_mode="constant")
        self.downs = nn.ModuleList()
        self.blocks = nn.ModuleList()
        self.norms = nn.ModuleList()
        for stride in strides:
            down = Conv1d(width, 2 * width, 2 * stride, stride=stride, pad_mode="constant")
            width *= 2
            self.downs.append(down)
            self.blocks.extend(HiFiGANBlock(width, kernel, dilations) for kernel in kernels)
            self.norms.extend(nn.LayerNorm(width, eps=1e-6) for _ in kernels)
        self.head = Conv1d(width, dim, 3, pad_mode="constant")
        self.activation = nn.LeakyReLU(0.1)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Latents, [batch, positions, dim]; see `AudioEncoder`."""
        x = self.stem(x, lengths)
        count = len(self.kernels)
        for stage, (down, stride) in enumerate(zip(self.downs, self.strides, strict=True)):
            x = down(self.activation(x), lengths)
            lengths = None if lengths is None else -(-lengths // stride)
            total = None
            for number in range(stage * count, (stage + 1) * count):
                found = self.blocks[number](x, lengths)
                total = found if total is None else total + found
                total = self.norms[number](total.transpose(1, 2)).transpose(1, 2)
            assert total is not None
            x = total / count
        return self.head(self.activation(x), lengths).transpose(1, 2)
