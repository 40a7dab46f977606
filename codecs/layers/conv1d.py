"""Conv1d: the one padding rule of the project: the output has ceil(length / stride) steps.

EnCodec's rule (Défossez et al., 2022). With the effective kernel k = (kernel - 1) * dilation + 1,
the input is padded by k - stride in all (causal: left; otherwise right gets the smaller half) and,
on the right, by what the last window lacks. Lengths of single items of a batch follow the same
rule, so an item gives the same output alone and beside longer ones.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

PadMode = Literal["reflect", "constant"]


def exporting() -> bool:
    """Whether a graph is being recorded, so that sizes must stay symbolic."""
    return torch.jit.is_tracing() or torch.compiler.is_exporting()


def mask_time(x: Tensor, lengths: Tensor | None) -> Tensor:
    """``x`` [batch, channels, time] with zeros behind each item's length (int64 [batch])."""
    if lengths is None:
        return x
    inside = torch.arange(x.shape[-1], device=x.device) < lengths.unsqueeze(1)
    return x * inside.unsqueeze(1)


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
            zeros on the right first), ``constant`` adds zeros.
        lengths: int64 [batch], steps of each item.
    """
    x = mask_time(x, lengths)
    size = x.shape[-1]
    fill = (-size) % stride
    if mode == "constant":
        return F.pad(x, (left, right + fill))
    if lengths is None and not exporting() and size > max(left, right + fill):
        return F.pad(x, (left, right + fill), mode="reflect")
    steps = torch.arange(size, device=x.device)
    last = steps[-1:] if lengths is None else lengths.unsqueeze(1) - 1
    need = torch.clamp(right + torch.remainder(-(last + 1), stride), min=left)
    last = torch.maximum(last, need)
    index = torch.arange(-left, size + right + fill, device=x.device)
    index = (last - (last - index.abs()).abs()).clamp(min=0)
    x = F.pad(x, (0, max(left, right + stride)))
    if lengths is None:
        return x.index_select(-1, index)
    return x.gather(-1, index.unsqueeze(1).expand(-1, x.shape[1], -1))


class Conv1d(nn.Module):
    """Convolution over time under the padding rule above.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        kernel_size: taps.
        stride: steps between windows.
        dilation: steps between taps.
        groups: as in `torch.nn.Conv1d`.
        causal: whether an output may see only inputs up to its own window's end.
        pad_mode: ``reflect`` or ``constant``.
        normalise: whether to apply weight normalisation (Salimans and Kingma, 2016).
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
        causal: bool = False,
        pad_mode: PadMode = "reflect",
        normalise: bool = True,
    ) -> None:
        super().__init__()
        conv = nn.Conv1d(
            in_channels, out_channels, kernel_size, stride, dilation=dilation, groups=groups
        )
        # keeps the variance through deep stacks; torch's default lets a quiet waveform fade to
        # nothing
        nn.init.kaiming_normal_(conv.weight, nonlinearity="linear")
        conv.bias.data.zero_()  # type: ignore[union-attr]
        self.conv = weight_norm(conv) if normalise else conv
        self.stride = stride
        total = (kernel_size - 1) * dilation + 1 - stride
        self.right = 0 if causal else total // 2
        self.left = total - self.right
        self.pad_mode: PadMode = pad_mode

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[batch, channels, time] → [batch, channels, ceil(time / stride)]."""
        x = pad(x, self.left, self.right, stride=self.stride, mode=self.pad_mode, lengths=lengths)
        return self.conv(x)
