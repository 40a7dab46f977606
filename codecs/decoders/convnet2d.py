"""Convolutional image decoders: VQGAN's (Esser et al., 2021) and MAGVIT-v2's (Yu et al., 2024).

The MAGVIT-v2 style may take noise and so become a generative decoder (WeTok; Zhuang et al., 2025):
the noise enters through a convolution that begins at zero, so a decoder that was trained without
noise is unchanged until that convolution learns.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.decoders.base import Decoding, ImageDecoder
from intaglio.codecs.layers.conv2d import (
    AdaptiveGroupNorm,
    Attention2d,
    ResBlock2d,
    Style,
    Upsample2d,
    channels_last,
    depth_to_space,
    middle,
    norm2d,
)


class ConvDecoder(ImageDecoder):
    """Residual blocks, doubling the image between the levels; mirrors `ConvEncoder`.

    Args:
        dim: size of a latent vector.
        width: channels of the last level.
        multipliers: of the encoder, in its order; undone from the last to the first.
        blocks: residual blocks of a level.
        style: ``vqgan``, or ``magvit2``, where the latents also set scale and shift of each level.
        attention: whether the blocks of the first level alternate with attention (vqgan).
        middle_attention: whether there is attention in the middle; as ``attention`` if None.
        patch: side of the squares of pixels that the last channels become.
        groups: of the normalisations.
        out_channels: channels of the images.
        noise: whether noise is added to the latents' features; without effect before it is trained.
    """

    def __init__(
        self,
        dim: int,
        *,
        width: int = 128,
        multipliers: Sequence[int] = (1, 1, 2, 2, 4),
        blocks: int = 3,
        style: Style = "vqgan",
        attention: bool = True,
        middle_attention: bool | None = None,
        patch: int = 1,
        groups: int = 32,
        out_channels: int = 3,
        noise: bool = False,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.patch = patch
        self.hop_length = patch * 2 ** (len(multipliers) - 1)
        bias = style == "vqgan"
        channels = width * multipliers[-1]
        self.conv_in = nn.Conv2d(dim, channels, 3, padding=1)
        self.conv_noise = nn.Conv2d(dim, channels, 3, padding=1, bias=False) if noise else None
        if self.conv_noise is not None:
            nn.init.zeros_(self.conv_noise.weight)
        with_attention = attention if middle_attention is None else middle_attention
        self.middle = middle(channels, blocks, style, attention=with_attention, groups=groups)
        self.adaptive = nn.ModuleList()
        self.levels = nn.ModuleList()
        for level, multiplier in reversed(list(enumerate(multipliers))):
            if style == "magvit2":
                self.adaptive.append(AdaptiveGroupNorm(channels, dim, groups=groups))
            layers: list[nn.Module] = []
            for _ in range(blocks):
                layers.append(ResBlock2d(channels, width * multiplier, groups=groups, bias=bias))
                channels = width * multiplier
                if level == len(multipliers) - 1 and bias and attention:
                    layers.append(Attention2d(channels, groups=groups))
            if level > 0:
                layers.append(Upsample2d(channels, style))
            self.levels.append(nn.Sequential(*layers))
        self.norm_out = norm2d(channels, groups)
        self.conv_out = nn.Conv2d(channels, out_channels * patch**2, 3, padding=1)

    def forward(
        self,
        latents: Tensor,
        mask: Tensor | None = None,
        *,
        grid: tuple[int, int],
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Images; see `ImageDecoder`.

        ``noise``, [1 or batch, dim, rows, columns], replaces what would be drawn.
        """
        latents = channels_last(latents.transpose(1, 2).unflatten(2, grid))
        if self.conv_noise is not None and noise is None:
            generator = generator or torch.Generator().manual_seed(0)
            noise = torch.randn(1, *latents.shape[1:], generator=generator).to(latents)
        return self._decode(latents, noise)

    def learn(
        self, latents: Tensor, target: Tensor, mask: Tensor | None, *, grid: tuple[int, int]
    ) -> Decoding:
        """Decode for training: fresh noise for every item."""
        latents = channels_last(latents.transpose(1, 2).unflatten(2, grid))
        noise = None if self.conv_noise is None else torch.randn_like(latents)
        return Decoding(self._decode(latents, noise), {})

    @property
    def last_weight(self) -> Tensor:
        """Weight of the last convolution."""
        return self.conv_out.weight

    def _decode(self, latents: Tensor, noise: Tensor | None) -> Tensor:
        x = self.conv_in(latents)
        if self.conv_noise is not None and noise is not None:
            x = x + self.conv_noise(noise)
        x = self.middle(x)
        for number, level in enumerate(self.levels):
            x = level(self.adaptive[number](x, latents) if len(self.adaptive) else x)
        x = self.conv_out(F.silu(self.norm_out(x)))
        return depth_to_space(x, self.patch) if self.patch > 1 else x
