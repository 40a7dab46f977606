"""DAC's encoder (Kumar et al., 2023), and SNAC's, a slimmer variant (2024)."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.encoders.base import AudioEncoder
from intaglio.codecs.layers.conv1d import Conv1d, mask_time
from intaglio.codecs.layers.local_attention import LocalAttention
from intaglio.codecs.layers.residual1d import SnakeBlock
from intaglio.codecs.layers.snake import Snake, start_small
from intaglio.codecs.streaming.streams import Blocks, Stream, chain

DILATIONS = (1, 3, 9)


class DACEncoder(AudioEncoder):
    """Residual blocks with periodic activations; each stage doubles the channels.

    The signal is filled up with zeros to whole latents before anything else, as released.

    Args:
        dim: size of a latent vector.
        strides: reduction of each stage, first stage first; their product is the hop length.
        channels: waveform channels.
        width: channels of the first convolution.
        multiple: latents come in multiples of it, for quantizers that pool over time.
        depthwise: SNAC: wide convolutions treat every channel alone, and one of 7 taps ends the
            encoder instead of Snake and 3 taps; ``dim`` must then be the last width.
        window: SNAC: latents of a window of local attention before the last layer; None for none.
        causal: whether a latent depends on no sample behind its own hop, so that it can be
            streamed (LM-SPT's option).

    Raises:
        ValueError: ``depthwise`` with a ``dim`` that is not the last width, or a causal encoder
            with attention to whole windows.
    """

    def __init__(
        self,
        dim: int = 1024,
        strides: Sequence[int] = (2, 4, 8, 8),
        *,
        channels: int = 1,
        width: int = 64,
        multiple: int = 1,
        depthwise: bool = False,
        window: int | None = None,
        causal: bool = False,
    ) -> None:
        super().__init__()
        if causal and window:
            raise ValueError(f"a causal DAC encoder has no local attention; window is {window}")
        self.dim = dim
        self.causal = causal
        self.hop_length = math.prod(strides)
        self.multiple = multiple
        self.stem = Conv1d(channels, width, 7, causal=causal, pad_mode="constant")
        self.strides = tuple(strides)
        self.blocks = nn.ModuleList()
        self.snakes = nn.ModuleList()
        self.downs = nn.ModuleList()
        for stride in strides:
            self.blocks.extend(
                SnakeBlock(width, d, depthwise=depthwise, causal=causal) for d in DILATIONS
            )
            self.snakes.append(Snake(width))
            self.downs.append(
                Conv1d(
                    width, 2 * width, 2 * stride, stride=stride, causal=causal, pad_mode="constant"
                )
            )
            width *= 2
        if depthwise and dim != width:
            raise ValueError(f"a depthwise encoder ends with {width} channels; dim is {dim}")
        self.attention = LocalAttention(width, window) if window else None
        self.last_snake = None if depthwise else Snake(width)
        self.head = Conv1d(
            width,
            dim,
            7 if depthwise else 3,
            groups=width if depthwise else 1,
            causal=causal,
            pad_mode="constant",
        )
        self.apply(start_small)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Latents, [batch, positions, dim]; see `AudioEncoder`."""
        size = self.hop_length * self.multiple
        x = F.pad(mask_time(x, lengths), (0, -x.shape[-1] % size))
        lengths = None if lengths is None else -(-lengths // size) * size
        x = self.stem(x, lengths)
        for stage, stride in enumerate(self.strides):
            for block in self._stage(stage):
                x = block(x, lengths)
            x = self.downs[stage](self.snakes[stage](x), lengths)
            lengths = None if lengths is None else lengths // stride
        if self.attention is not None:
            x = self.attention(x, lengths)
        if self.last_snake is not None:
            x = self.last_snake(x)
        return self.head(x, lengths).transpose(1, 2)

    def stream(self) -> Stream:
        """The encoder, block by block."""
        whole = Blocks(lambda x: x, self.hop_length * self.multiple, pad=True)
        parts: list[Any] = [whole, self.stem]
        for stage in range(len(self.strides)):
            parts += [*self._stage(stage), self.snakes[stage], self.downs[stage]]
        parts += [part for part in (self.attention, self.last_snake) if part is not None]
        return chain(*parts, self.head)

    def _stage(self, stage: int) -> Sequence[Any]:
        count = len(DILATIONS)
        return list(self.blocks[count * stage : count * (stage + 1)])
