"""Convolutional image encoders: VQGAN's (Esser et al., 2021) and MAGVIT-v2's (Yu et al., 2024)."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.encoders.base import ImageEncoder
from intaglio.codecs.layers.conv2d import (
    Attention2d,
    Downsample2d,
    ResBlock2d,
    Style,
    channels_last,
    middle,
    norm2d,
    space_to_depth,
)


class ConvEncoder(ImageEncoder):
    """Residual blocks, halving the image between the levels: one latent per ``hop_length`` square.

    Args:
        dim: size of a latent vector.
        width: channels of the first level.
        multipliers: channels of each level over ``width``; all levels but the last end in half the
            height and width.
        blocks: residual blocks of a level.
        style: ``vqgan`` (biases, attention in the middle, a 3 × 3 last layer) or ``magvit2`` (no
            biases, no attention, 1 × 1).
        attention: whether the blocks of the last level alternate with attention (vqgan).
        middle_attention: whether there is attention in the middle; as ``attention`` if None.
        patch: side of the squares of pixels that become channels first; saves time on small images.
        groups: of the normalisations.
        in_channels: channels of the images.
    """

    def __init__(
        self,
        dim: int,
        *,
        width: int = 128,
        multipliers: Sequence[int] = (1, 1, 2, 2, 4),
        blocks: int = 2,
        style: Style = "vqgan",
        attention: bool = True,
        middle_attention: bool | None = None,
        patch: int = 1,
        groups: int = 32,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.patch = patch
        self.hop_length = patch * 2 ** (len(multipliers) - 1)
        bias = style == "vqgan"
        self.conv_in = nn.Conv2d(in_channels * patch**2, width, 3, padding=1, bias=bias)
        self.levels = nn.ModuleList()
        channels = width
        for level, multiplier in enumerate(multipliers):
            last = level == len(multipliers) - 1
            layers: list[nn.Module] = []
            for _ in range(blocks):
                layers.append(ResBlock2d(channels, width * multiplier, groups=groups, bias=bias))
                channels = width * multiplier
                if last and bias and attention:
                    layers.append(Attention2d(channels, groups=groups))
            if not last:
                layers.append(Downsample2d(channels, style))
            self.levels.append(nn.Sequential(*layers))
        with_attention = attention if middle_attention is None else middle_attention
        self.middle = middle(channels, blocks, style, attention=with_attention, groups=groups)
        self.norm_out = norm2d(channels, groups)
        self.conv_out = nn.Conv2d(channels, dim, 3 if bias else 1, padding=1 if bias else 0)

    def forward(self, x: Tensor) -> Tensor:
        """Latents, [batch, rows * columns, dim]; see `ImageEncoder`."""
        x = space_to_depth(x, self.patch) if self.patch > 1 else x
        x = self.conv_in(channels_last(x))
        for level in self.levels:
            x = level(x)
        x = self.conv_out(F.silu(self.norm_out(self.middle(x))))
        return x.flatten(2).transpose(1, 2)
