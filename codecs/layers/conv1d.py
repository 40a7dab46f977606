"""Conv1d: the padding rule of the project: the output has ceil(length / stride) steps.

EnCodec's rule (Défossez et al., 2022). With the effective kernel k = (kernel - 1) * dilation + 1,
the input is padded by k - stride in all (causal: left; otherwise right gets the smaller half) and,
on the right, by what the last window lacks. Lengths of single items of a batch follow the same
rule, so an item gives the same output alone and in a batch with longer ones.
"""

from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from intaglio.codecs.layers.norm import GroupNorm1d
from intaglio.codecs.layers.tracing import exporting
from intaglio.codecs.streaming.state import State, StreamingLayer
from intaglio.codecs.streaming.streams import Stream, joined

PadMode = Literal["reflect", "constant", "replicate"]
Norm = Literal["weight", "group", "none"]
FEW = 4  # windows that are faster as the rows of a matrix than as its columns
Convolution = TypeVar("Convolution", nn.Conv1d, nn.ConvTranspose1d)


def mask_time(x: Tensor, lengths: Tensor | None) -> Tensor:
    """``x`` [batch, channels, time] with zeros behind each item's length (int64 [batch])."""
    return x if lengths is None else x * inside(x, lengths).unsqueeze(1)


def inside(x: Tensor, lengths: Tensor) -> Tensor:
    """Which steps of ``x`` [batch, channels, time] belong to their item: bool [batch, time]."""
    return torch.arange(x.shape[-1], device=x.device) < lengths.unsqueeze(1)


def initialised(conv: Convolution, norm: Norm) -> Convolution:
    """The convolution with weights that keep the variance, no bias, and weight normalisation.

    With torch's own initialisation a quiet waveform fades to nothing in deep stacks.
    """
    fan = conv.weight[0].numel()
    if isinstance(conv, nn.ConvTranspose1d):  # a sample gets kernel / stride taps of each channel
        fan = conv.in_channels * conv.kernel_size[0] // conv.stride[0]
    nn.init.normal_(conv.weight, std=fan**-0.5)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return weight_norm(conv) if norm == "weight" else conv


def pad(
    x: Tensor, left: int, right: int, *, stride: int, mode: PadMode, lengths: Tensor | None = None
) -> Tensor:
    """Pad time so that windows of a step ``stride`` end exactly at the last sample.

    Args:
        x: [batch, channels, time].
        left: steps before the first sample.
        right: steps after the last sample, besides those that complete the last window.
        stride: step of the windows.
        mode: ``reflect`` mirrors at the ends of each item (an item shorter than its padding gets
            zeros on the right first), ``constant`` adds zeros, ``replicate`` repeats the ends.
        lengths: int64 [batch], steps of each item.
    """
    x = mask_time(x, lengths)
    if left == right == 0 and stride == 1:
        return x
    size = x.shape[-1]
    fill = (-size) % stride
    if mode == "constant":
        return F.pad(x, (left, right + fill))
    long = mode == "replicate" or (not exporting() and size > max(left, right + fill))
    if lengths is None and long:
        return F.pad(x, (left, right + fill), mode=mode)
    steps = torch.arange(size, device=x.device)
    last = steps[-1:] if lengths is None else lengths.unsqueeze(1) - 1
    index = torch.arange(-left, size + right + fill, device=x.device)
    if mode == "replicate":
        index = torch.minimum(index.clamp(min=0), last)
    else:
        need = torch.clamp(right + torch.remainder(-(last + 1), stride), min=left)
        last = torch.maximum(last, need)
        index = (last - (last - index.abs()).abs()).clamp(min=0)
        x = F.pad(x, (0, max(left, right + stride)))
    if lengths is None:
        return x.index_select(-1, index)
    return x.gather(-1, index.unsqueeze(1).expand(-1, x.shape[1], -1))


class Conv1d(StreamingLayer):
    """Convolution over time under the padding rule above.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        kernel_size: taps.
        stride: steps between windows.
        dilation: steps between taps.
        groups: as in `torch.nn.Conv1d`.
        bias: whether to add a bias.
        causal: whether an output depends only on inputs up to its own window's end.
        pad_mode: ``reflect``, ``constant`` or ``replicate``.
        norm: ``weight`` (Salimans and Kingma, 2016), ``group`` (all channels and steps of an item
            together; EnCodec's "time group norm", which needs whole signals), or ``none``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        causal: bool = False,
        pad_mode: PadMode = "reflect",
        norm: Norm = "weight",
    ) -> None:
        super().__init__()
        self.conv = initialised(
            nn.Conv1d(
                in_channels,
                out_channels,
                kernel_size,
                stride,
                dilation=dilation,
                groups=groups,
                bias=bias,
            ),
            norm,
        )
        self.norm = GroupNorm1d(1, out_channels) if norm == "group" else None
        self.stride = stride
        self.reach = (kernel_size - 1) * dilation + 1
        self.right = 0 if causal else (self.reach - stride) // 2
        self.left = self.reach - stride - self.right
        self.pad_mode: PadMode = pad_mode

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[batch, channels, time] → [batch, channels, ceil(time / stride)]."""
        x = pad(x, self.left, self.right, stride=self.stride, mode=self.pad_mode, lengths=lengths)
        x = self.windows(x)
        if self.norm is None:
            return x
        lengths = None if lengths is None else -(-lengths // self.stride)
        return self.norm(x, None if lengths is None else inside(x, lengths))

    def windows(self, x: Tensor) -> Tensor:
        """The convolution of padded steps.

        With one tap, on a CPU, as a matrix product, which takes 0.4 to 1.0 of the time of torch's
        convolution.
        """
        conv = self.conv
        if self.reach > 1 or conv.groups > 1 or x.device.type != "cpu" or exporting():
            return conv(x)
        weight = conv.weight[..., 0].expand(x.shape[0], -1, -1)
        if conv.bias is None:
            return weight @ x
        return torch.baddbmm(conv.bias.unsqueeze(-1), weight, x)

    def start(self, batch: int) -> State:
        """Zeros before the signal; with other borders, also whether the signal has begun."""
        if self.right > 0 or self.norm is not None:
            raise ValueError("a convolution looks ahead, or needs the whole signal")
        if self.left == 0:
            return {}
        weight = self.conv.weight
        state = {"past": weight.new_zeros(batch, self.conv.in_channels, self.left)}
        if self.pad_mode != "constant":
            state["begun"] = torch.zeros(batch, dtype=torch.bool, device=weight.device)
        return state

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Windows that end in the chunk; the inputs that the next ones share with them stay."""
        new = {}
        if state:
            past = state["past"]
            if "begun" in state:
                if x.shape[-1] >= self.shortest:  # else no signal of the batch begins here
                    past = torch.where(state["begun"].view(-1, 1, 1), past, self._border(x))
                new["begun"] = torch.ones_like(state["begun"])
            x = torch.cat([past, x], dim=-1)
            new["past"] = x[..., x.shape[-1] - self.left :]
        fill = (self.left - x.shape[-1]) % self.stride
        if fill:  # only where the signal ends
            x = F.pad(x, (0, fill), mode=self.pad_mode)
        return self._few_windows(x), new

    def _few_windows(self, x: Tensor) -> Tensor:
        """As `windows`; faster on a CPU for the short chunks of streams.

        There torch's convolution takes 1 to 3 times as long as a matrix product, and with a few
        windows, in which it mostly reads weights, one with the windows as rows takes half of that.
        """
        conv = self.conv
        if conv.groups > 1 or x.device.type != "cpu" or torch.is_grad_enabled() or exporting():
            return self.windows(x)
        windows = x.unfold(-1, self.reach, self.stride)[..., :: conv.dilation[0]]
        weight = conv.weight.flatten(1)
        if windows.shape[0] * windows.shape[2] <= FEW:
            return F.linear(windows.transpose(1, 2).flatten(2), weight, conv.bias).transpose(1, 2)
        columns = windows.transpose(2, 3).flatten(1, 2)
        weight = weight.expand(len(x), -1, -1)
        if conv.bias is None:
            return weight @ columns
        return torch.baddbmm(conv.bias.unsqueeze(-1), weight, columns)

    @property
    def shortest(self) -> int:
        """Steps of the shortest chunk that a signal may begin with."""
        return self.left + 1 if self.pad_mode == "reflect" and self.left else 1

    def _border(self, x: Tensor) -> Tensor:
        """What stands before a signal that begins with ``x``, [batch, channels, left]."""
        if self.pad_mode == "replicate":
            return x[..., :1].expand(-1, -1, self.left)
        return x[..., 1 : self.left + 1].flip(-1)

    def stream(self) -> Stream:
        """The convolution, block by block.

        Raises:
            ValueError: group normalisation needs the whole signal.
        """
        return _ConvStream(self)


class _ConvStream(Stream):
    """Keeps the inputs that coming windows, or the mirror at the end, still need."""

    def __init__(self, layer: Conv1d) -> None:
        if layer.norm is not None:
            raise ValueError("a convolution with group normalisation needs the whole signal")
        self.layer = layer
        self.kept: Tensor | None = None
        self.total = 0  # steps taken so far
        self.start = 0  # of the next window in what is kept
        self.begun = False

    def push(self, x: Tensor, last: bool = False) -> Tensor:
        layer = self.layer
        self.total += x.shape[-1]
        x = joined(self.kept, x)
        mirrored = layer.pad_mode != "constant"
        if not self.begun:
            # a shorter signal is padded by a rule of its own, once its end is known
            if last:
                return layer(x) if self.total else _nothing(x, layer)
            if mirrored and self.total <= max(layer.left, layer.right + layer.stride):
                self.kept = x
                return _nothing(x, layer)
            x = F.pad(x, (layer.left, 0), mode=layer.pad_mode)
            self.begun = True
        if last:
            right = layer.right + (-self.total) % layer.stride
            x = F.pad(x, (0, right), mode=layer.pad_mode)
        windows = (x.shape[-1] - self.start - layer.reach) // layer.stride + 1
        stop = self.start + max(0, windows) * layer.stride
        y = _nothing(x, layer)
        if windows > 0:
            y = layer.windows(x[..., self.start : stop + layer.reach - layer.stride])
        # the mirror at the end looks back over the last right + stride steps
        first = min(stop, x.shape[-1] - layer.right - layer.stride) if mirrored else stop
        self.kept, self.start = x[..., max(0, first) :], stop - max(0, first)
        return y


def _nothing(x: Tensor, layer: Conv1d) -> Tensor:
    return x.new_zeros(x.shape[0], layer.conv.out_channels, 0)
