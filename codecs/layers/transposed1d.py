"""ConvTranspose1d: the padding rule of `Conv1d` inverted: exactly time * stride steps.

Of the kernel - stride surplus steps, a causal layer drops all on the right; otherwise the right
loses the smaller half (EnCodec, Défossez et al., 2022). DAC's release drops one step more on the
right for odd strides.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.layers.conv1d import FEW, Norm, initialised, inside, mask_time
from intaglio.codecs.layers.norm import GroupNorm1d
from intaglio.codecs.layers.tracing import exporting
from intaglio.codecs.streaming.state import State, StreamingLayer
from intaglio.codecs.streaming.streams import Stream


class ConvTranspose1d(StreamingLayer):
    """Transposed convolution over time.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        stride: steps that each step becomes; the kernel has twice as many taps.
        causal: whether an output may see only inputs up to its own.
        norm: ``weight``, ``group`` or ``none``; see `Conv1d`.
        groups: as in `torch.nn.ConvTranspose1d`.
        bias: whether to add a bias.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        *,
        causal: bool = False,
        norm: Norm = "weight",
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        conv = nn.ConvTranspose1d(
            in_channels, out_channels, 2 * stride, stride, groups=groups, bias=bias
        )
        self.conv = initialised(conv, norm)
        self.norm = GroupNorm1d(1, out_channels) if norm == "group" else None
        self.stride = stride
        self.right = stride if causal else stride // 2
        self.left = stride - self.right

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[batch, channels, time] → [batch, out_channels, time * stride].

        ``lengths``, int64 [batch], are the steps of each item before.
        """
        y = self.spread(mask_time(x, lengths))
        if self.conv.bias is not None:
            y = y + self.conv.bias.unsqueeze(-1)
        if self.norm is not None:  # before the trim, as released
            mask = None if lengths is None else inside(y, (lengths + 1) * self.stride)
            y = self.norm(y, mask)
        return y[..., self.left : y.shape[-1] - self.right]

    def spread(self, x: Tensor) -> Tensor:
        """Nothing trimmed and no bias: [batch, out_channels, (time + 1) * stride].

        On a CPU as one matrix product and one addition of neighbours, which takes 0.4 to 0.8 of
        the time of torch's transposed convolution.
        """
        weight, stride = self.conv.weight, self.stride
        groups = self.conv.groups
        if groups > 1 or x.device.type != "cpu" or torch.is_grad_enabled() or exporting():
            return F.conv_transpose1d(x, weight, stride=stride, groups=groups)
        batch, _, time = x.shape
        if batch * time <= FEW:  # mostly the weights are read, which takes half the time like this
            taps = (x.transpose(1, 2) @ weight.flatten(1)).transpose(1, 2)
        else:
            taps = weight.flatten(1).t() @ x
        taps = taps.reshape(batch, -1, 2, stride, time).permute(2, 0, 1, 4, 3)
        y = F.pad(taps[0], (0, 0, 0, 1))
        y[:, :, 1:] += taps[1]
        return y.flatten(2)

    def start(self, batch: int) -> State:
        """Zeros that the first step is added to."""
        if self.left > 0 or self.norm is not None:
            raise ValueError("a transposed convolution looks ahead, or needs the whole signal")
        weight = self.conv.weight
        return {"tail": weight.new_zeros(batch, self.conv.out_channels, self.stride)}

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Finished steps; the half-finished ones behind them stay, without bias."""
        y = self.spread(x)
        tail = y[..., -self.stride :]
        first = y[..., : self.stride] + state["tail"]
        y = torch.cat([first, y[..., self.stride : -self.stride]], dim=-1)
        if self.conv.bias is not None:
            y = y + self.conv.bias.unsqueeze(-1)
        return y, {"tail": tail}

    def stream(self) -> Stream:
        """The layer, block by block.

        Raises:
            ValueError: group normalisation needs the whole signal.
        """
        return _TransposedStream(self)


class _TransposedStream(Stream):
    """Keeps the half-finished steps behind the last whole one."""

    def __init__(self, layer: ConvTranspose1d) -> None:
        if layer.norm is not None:
            raise ValueError("a convolution with group normalisation needs the whole signal")
        self.layer = layer
        self.tail: Tensor | None = None

    def push(self, x: Tensor, last: bool = False) -> Tensor:
        conv, stride = self.layer.conv, self.layer.stride
        bias = 0.0 if conv.bias is None else conv.bias[:, None]
        first = self.tail is None
        tail = x.new_zeros(x.shape[0], conv.out_channels, stride) if first else self.tail
        assert tail is not None
        if x.shape[-1]:
            y = self.layer.spread(x)
            y = torch.cat([y[..., :stride] + tail, y[..., stride:]], dim=-1)
            y, tail = y[..., :-stride], y[..., -stride:]
            y = y[..., self.layer.left :] if first else y
        else:
            y = tail[..., :0]
        if x.shape[-1] or not first:
            self.tail = tail
        if last and self.tail is not None:
            y = torch.cat([y, tail[..., : self.layer.left]], dim=-1)
        return y + bias
