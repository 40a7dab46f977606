"""NoiseBlock: noise of a learned strength in a decoder (SNAC; Siuzdak et al., 2024)."""

import torch
from torch import Tensor, nn

from intaglio.codecs.layers.conv1d import Conv1d
from intaglio.codecs.streaming.streams import Stream

TABLE = 1 << 16  # steps after which the noise of inference repeats


class NoiseBlock(nn.Module):
    """``x + noise * linear(x)`` with one noise for all channels.

    In training the noise is drawn anew. Otherwise it is a function of the position in the signal:
    the same tokens give the same samples, alone, in a batch, block by block and exported; the
    release draws it anew there as well.

    Args:
        channels: channels in and out.
        seed: of the noise outside training.
    """

    table: Tensor

    def __init__(self, channels: int, seed: int = 0) -> None:
        super().__init__()
        self.linear = Conv1d(channels, channels, 1, bias=False)
        noise = torch.randn(TABLE, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("table", noise, persistent=False)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """[batch, channels, time] → the same shape; ``start`` is the position of the first step."""
        if self.training:
            noise = torch.randn_like(x[:, :1])
        else:
            positions = torch.remainder(start + torch.arange(x.shape[-1], device=x.device), TABLE)
            noise = self.table[positions].to(x.dtype)
        return x + noise * self.linear(x)

    def stream(self) -> Stream:
        """The layer, block by block."""
        return _NoiseStream(self)


class _NoiseStream(Stream):
    """Counts the steps."""

    def __init__(self, layer: NoiseBlock) -> None:
        self.layer = layer
        self.position = 0

    def push(self, x: Tensor, last: bool = False) -> Tensor:
        y = self.layer(x, self.position) if x.shape[-1] else x
        self.position += x.shape[-1]
        return y
