"""Residual blocks of waveform codecs: SEANet (EnCodec, WavTokenizer), DAC and HiFi-GAN."""

from collections.abc import Sequence

from torch import Tensor, nn

from intaglio.codecs.layers.conv1d import Conv1d, Norm, PadMode
from intaglio.codecs.layers.snake import Snake
from intaglio.codecs.streaming.streams import Stream, Sum, chain

# of the blocks of HiFi-GAN, first variant
KERNELS = (3, 7, 11)
DILATIONS = (1, 3, 5)


class SEANetBlock(nn.Module):
    """ELU → convolution to half the channels → ELU → 1 × 1 convolution back, added to a skip.

    Args:
        channels: channels in and out.
        kernel_size: taps of the first convolution.
        causal: see `Conv1d`.
        pad_mode: see `Conv1d`.
        norm: see `Conv1d`.
        true_skip: the skip is the input itself instead of a 1 × 1 convolution of it.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        *,
        causal: bool,
        pad_mode: PadMode,
        norm: Norm,
        true_skip: bool,
    ) -> None:
        super().__init__()
        half = channels // 2
        self.squeeze = Conv1d(
            channels, half, kernel_size, causal=causal, pad_mode=pad_mode, norm=norm
        )
        self.expand = Conv1d(half, channels, 1, norm=norm)
        self.skip = None if true_skip else Conv1d(channels, channels, 1, norm=norm)
        self.activation = nn.ELU()

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[batch, channels, time] → the same shape."""
        inner = self.squeeze(self.activation(x), lengths)
        inner = self.expand(self.activation(inner), lengths)
        return inner + (x if self.skip is None else self.skip(x, lengths))

    def stream(self) -> Stream:
        """The block, block by block."""
        inner = chain(self.activation, self.squeeze, self.activation, self.expand)
        return Sum(inner, Stream() if self.skip is None else self.skip.stream())


class SnakeBlock(nn.Module):
    """Snake → dilated convolution of 7 taps → Snake → 1 × 1 convolution, added to the input (DAC).

    Args:
        channels: channels in and out.
        dilation: steps between the taps.
        depthwise: the first convolution treats every channel alone (SNAC).
        causal: see `Conv1d`.
    """

    def __init__(
        self, channels: int, dilation: int, *, depthwise: bool = False, causal: bool = False
    ) -> None:
        super().__init__()
        groups = channels if depthwise else 1
        self.snakes = nn.ModuleList(Snake(channels) for _ in range(2))
        self.wide = Conv1d(
            channels,
            channels,
            7,
            dilation=dilation,
            groups=groups,
            causal=causal,
            pad_mode="constant",
        )
        self.narrow = Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[batch, channels, time] → the same shape."""
        return x + self.narrow(self.snakes[1](self.wide(self.snakes[0](x), lengths)))

    def stream(self) -> Stream:
        """The block, block by block."""
        return Sum(chain(self.snakes[0], self.wide, self.snakes[1], self.narrow), Stream())


class HiFiGANBlock(nn.Module):
    """LeakyReLU → dilated convolution → LeakyReLU → convolution, added; for one dilation after
    another (Kong et al., NeurIPS 2020, first variant).

    Args:
        channels: channels in and out.
        kernel_size: taps of all convolutions.
        dilations: steps between the taps of the first convolutions.
    """

    def __init__(self, channels: int, kernel_size: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.dilated = nn.ModuleList(
            Conv1d(channels, channels, kernel_size, dilation=dilation, pad_mode="constant")
            for dilation in dilations
        )
        self.plain = nn.ModuleList(
            Conv1d(channels, channels, kernel_size, pad_mode="constant") for _ in dilations
        )
        self.activation = nn.LeakyReLU(0.1)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[batch, channels, time] → the same shape."""
        for dilated, plain in zip(self.dilated, self.plain, strict=True):
            inner = dilated(self.activation(x), lengths)
            x = x + plain(self.activation(inner), lengths)
        return x
