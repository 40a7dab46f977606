"""The layers of convolutional image codecs: VQGAN's (Esser et al., 2021) and MAGVIT-v2's (2024).

Names follow the published checkpoints where they are clear, so that converters stay short.
"""

from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.layers.positions import at_least_float32

Style = Literal["vqgan", "magvit2"]


class GroupNorm2d(nn.GroupNorm):
    """Group normalisation of maps that may have the channels of a pixel side by side."""

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] → the same shape."""
        if torch.is_grad_enabled() and not x.requires_grad:
            # torch 2.11 hangs in the gradient of scale and shift of such maps if theirs is not
            # wanted, as behind a frozen layer
            x = x.detach().requires_grad_()
        return super().forward(x)


def norm2d(channels: int, groups: int, *, affine: bool = True) -> nn.GroupNorm:
    """Group normalisation with the usual epsilon of 1e-6."""
    return GroupNorm2d(groups, channels, eps=1e-6, affine=affine)


def channels_last(x: Tensor) -> Tensor:
    """The same values [batch, channels, height, width] with the channels of a pixel side by side.

    Convolutions keep this order; on CPUs they are faster for it. A copy, because a view of one
    image may have strides that they do not take for it.
    """
    return x.clone(memory_format=torch.channels_last)


class ResBlock2d(nn.Module):
    """Normalisation → SiLU → 3 × 3 convolution, twice, added to the input.

    Args:
        in_channels: channels in; if they differ from those out, a 1 × 1 convolution leads past.
        out_channels: channels out.
        groups: of the normalisations.
        bias: of the convolutions.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, groups: int = 32, bias: bool = True
    ) -> None:
        super().__init__()
        self.norm1 = norm2d(in_channels, groups)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)
        self.norm2 = norm2d(out_channels, groups)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=bias)
        self.shortcut = (
            nn.Identity()
            if in_channels == out_channels
            else nn.Conv2d(in_channels, out_channels, 1, bias=bias)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[batch, in_channels, height, width] → [batch, out_channels, height, width]."""
        inner = self.conv1(F.silu(self.norm1(x)))
        inner = self.conv2(F.silu(self.norm2(inner)))
        return self.shortcut(x) + inner


class Attention2d(nn.Module):
    """Self-attention of all positions with one head, added to the input (VQGAN).

    Args:
        channels: channels in and out.
        groups: of the normalisation.
    """

    def __init__(self, channels: int, *, groups: int = 32) -> None:
        super().__init__()
        self.norm = norm2d(channels, groups)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] → the same shape."""
        height = x.shape[2]
        parts = rearrange(self.qkv(self.norm(x)), "b (three c) h w -> three b 1 (h w) c", three=3)
        y = F.scaled_dot_product_attention(*parts)
        return x + self.out(rearrange(y, "b 1 (h w) c -> b c h w", h=height))


class Downsample2d(nn.Module):
    """3 × 3 convolution of stride 2.

    Args:
        channels: channels in and out.
        style: ``vqgan`` pads right and below only, ``magvit2`` on all sides.
    """

    def __init__(self, channels: int, style: Style) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)
        self.padding = (0, 1, 0, 1) if style == "vqgan" else (1, 1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] → half the height and width."""
        return self.conv(F.pad(x, self.padding))


class Upsample2d(nn.Module):
    """Twice the height and width.

    Args:
        channels: channels in and out.
        style: ``vqgan`` repeats pixels before a 3 × 3 convolution; ``magvit2`` convolves to four
            times the channels and deals them out as pixels.
    """

    def __init__(self, channels: int, style: Style) -> None:
        super().__init__()
        self.deals = style == "magvit2"
        self.conv = nn.Conv2d(channels, channels * (4 if self.deals else 1), 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] → [batch, channels, 2 * height, 2 * width]."""
        if self.deals:
            return depth_to_space(self.conv(x), 2)
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class AdaptiveGroupNorm(nn.Module):
    """Group normalisation whose scale and shift come from the quantized latents (MAGVIT-v2).

    The scale is a linear map of the standard deviation of each latent channel over the image, the
    shift one of its mean. A single latent has a standard deviation of 0.

    Args:
        channels: of what is normalised.
        dim: of the latents.
        groups: of the normalisation.
    """

    def __init__(self, channels: int, dim: int, *, groups: int = 32) -> None:
        super().__init__()
        self.norm = norm2d(channels, groups, affine=False)
        self.gamma = nn.Linear(dim, channels)
        self.beta = nn.Linear(dim, channels)

    def forward(self, x: Tensor, latents: Tensor) -> Tensor:
        """[batch, channels, height, width] → the same; ``latents`` [batch, dim, rows, columns]."""
        flat = at_least_float32(latents).flatten(2)
        variance = flat.var(-1, correction=int(flat.shape[-1] > 1))
        scale = self.gamma((variance + 1e-6).sqrt().to(latents.dtype))
        shift = self.beta(flat.mean(-1).to(latents.dtype))
        return scale[..., None, None] * self.norm(x) + shift[..., None, None]


def middle(
    channels: int, blocks: int, style: Style, *, attention: bool, groups: int
) -> nn.Sequential:
    """The layers of the smallest size: block, attention, block (vqgan) or some blocks (magvit2)."""
    if style == "magvit2":
        return nn.Sequential(
            *(ResBlock2d(channels, channels, groups=groups, bias=False) for _ in range(blocks))
        )
    layers: list[nn.Module] = [ResBlock2d(channels, channels, groups=groups)]
    if attention:
        layers.append(Attention2d(channels, groups=groups))
    return nn.Sequential(*layers, ResBlock2d(channels, channels, groups=groups))


def depth_to_space(x: Tensor, size: int) -> Tensor:
    """[batch, size² * channels, rows, columns] → [batch, channels, size * rows, size * columns].

    The position within a square, row first, is the slow axis of the channels.
    """
    return rearrange(x, "b (i j c) h w -> b c (h i) (w j)", i=size, j=size)


def space_to_depth(x: Tensor, size: int) -> Tensor:
    """The inverse of `depth_to_space`."""
    return rearrange(x, "b c (h i) (w j) -> b (i j c) h w", i=size, j=size)
