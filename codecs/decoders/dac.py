"""DAC's decoder (Kumar et al., 2023), and SNAC's, a slimmer variant (2024).

Deviation: DAC's release loses a sample at each stage of odd stride (8 of the whole at 24 and
16 kHz); here every latent gives ``hop_length`` samples, and the others are the same.
"""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from intaglio.codecs.decoders.base import AudioDecoder
from intaglio.codecs.layers.conv1d import Conv1d
from intaglio.codecs.layers.local_attention import LocalAttention
from intaglio.codecs.layers.noise import NoiseBlock
from intaglio.codecs.layers.residual1d import SnakeBlock
from intaglio.codecs.layers.snake import Snake, start_small
from intaglio.codecs.layers.transposed1d import ConvTranspose1d
from intaglio.codecs.streaming.streams import Stream, chain

DILATIONS = (1, 3, 9)


class DACDecoder(AudioDecoder):
    """Transposed convolutions and residual blocks; each stage halves the channels.

    Args:
        dim: size of a latent vector.
        strides: reductions of the encoder, in its order; undone from the last to the first.
        channels: waveform channels.
        width: channels of the first stage.
        depthwise: SNAC: wide convolutions treat every channel alone.
        window: SNAC: latents of a window of local attention after the first layer; None for none.
        noise: SNAC: noise of a learned strength in every stage; see `NoiseBlock`.
        causal: whether samples depend on no later latents, so that it can be streamed (LM-SPT's
            option).

    Raises:
        ValueError: a causal decoder with attention to whole windows or with noise.
    """

    def __init__(
        self,
        dim: int = 1024,
        strides: Sequence[int] = (2, 4, 8, 8),
        *,
        channels: int = 1,
        width: int = 1536,
        depthwise: bool = False,
        window: int | None = None,
        noise: bool = False,
        causal: bool = False,
    ) -> None:
        super().__init__()
        if causal and (window or noise):
            raise ValueError(
                f"a causal DAC decoder has no local attention and no noise; window is {window}, "
                f"noise {noise}"
            )
        self.dim = dim
        self.causal = causal
        self.hop_length = math.prod(strides)
        self.mix = None
        if depthwise:
            self.mix = Conv1d(dim, dim, 7, groups=dim, causal=causal, pad_mode="constant")
        self.stem = Conv1d(dim, width, 1 if depthwise else 7, causal=causal, pad_mode="constant")
        self.attention = LocalAttention(width, window) if window else None
        self.strides = tuple(reversed(strides))
        self.snakes = nn.ModuleList()
        self.ups = nn.ModuleList()
        self.noises = nn.ModuleList()
        self.blocks = nn.ModuleList()
        for stage, stride in enumerate(self.strides):
            self.snakes.append(Snake(width))
            self.ups.append(ConvTranspose1d(width, width // 2, stride, causal=causal))
            width //= 2
            self.noises.append(NoiseBlock(width, seed=stage) if noise else nn.Identity())
            self.blocks.extend(
                SnakeBlock(width, d, depthwise=depthwise, causal=causal) for d in DILATIONS
            )
        self.last_snake = Snake(width)
        self.head = Conv1d(width, channels, 7, causal=causal, pad_mode="constant")
        self.apply(start_small)

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Tensor:
        """Waveform [batch, channels, positions * hop_length], in [-1, 1]; see `AudioDecoder`."""
        lengths = None if mask is None else mask.sum(1)
        x = latents.transpose(1, 2)
        x = self.stem(x if self.mix is None else self.mix(x, lengths), lengths)
        if self.attention is not None:
            x = self.attention(x, lengths)
        for stage, stride in enumerate(self.strides):
            x = self.noises[stage](self.ups[stage](self.snakes[stage](x), lengths))
            lengths = None if lengths is None else lengths * stride
            for block in self._stage(stage):
                x = block(x, lengths)
        return self.head(self.last_snake(x), lengths).tanh()

    def stream(self) -> Stream:
        """The decoder, block by block."""
        first = (self.mix, self.stem, self.attention)
        parts: list[Any] = [part for part in first if part is not None]
        for stage in range(len(self.strides)):
            parts += [self.snakes[stage], self.ups[stage], self.noises[stage], *self._stage(stage)]
        return chain(*parts, self.last_snake, self.head, Tensor.tanh)

    def _stage(self, stage: int) -> Sequence[Any]:
        count = len(DILATIONS)
        return list(self.blocks[count * stage : count * (stage + 1)])
