"""Image decoders from a sequence of latents: TiTok's (Yu et al., 2024) and a dense one.

The inverses of the encoders in `intaglio.codecs.encoders.latents`. Latents that do not count are
replaced by one learned vector, so that any first ones can be decoded by a decoder that was trained
with prefixes.
"""

import math

import torch
from torch import Tensor, nn

from intaglio.codecs.decoders.base import ImageDecoder
from intaglio.codecs.layers.transformer import Transformer


class LatentDecoder(ImageDecoder):
    """Mask tokens for all patches and the latents go through a transformer; pixels come out.

    Args:
        dim: size of a latent vector.
        trunk: the transformer.
        positions: number of latents.
        patch: side of a patch.
        grid: rows and columns of patches.
        channels: of the image.
        smooth: whether a 3 × 3 convolution goes over the seams of the patches.
    """

    takes_prefixes = True

    def __init__(
        self,
        dim: int,
        trunk: Transformer,
        positions: int,
        *,
        patch: int = 16,
        grid: int = 16,
        channels: int = 3,
        smooth: bool = True,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.hop_length = patch
        self.trunk = trunk
        self.grid = grid
        width = trunk.dim
        self.embed = nn.Linear(dim, width)
        self.missing = nn.Parameter(width**-0.5 * torch.randn(width))
        self.class_token = nn.Parameter(width**-0.5 * torch.randn(1, width))
        self.mask_token = nn.Parameter(width**-0.5 * torch.randn(1, width))
        self.position_embedding = nn.Parameter(width**-0.5 * torch.randn(grid**2 + 1, width))
        self.latent_embedding = nn.Parameter(width**-0.5 * torch.randn(positions, width))
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.head = nn.Linear(width, patch**2 * channels)
        self.unpatch = nn.PixelShuffle(patch)
        self.smooth = nn.Conv2d(channels, channels, 3, padding=1) if smooth else nn.Identity()

    def forward(
        self,
        latents: Tensor,
        mask: Tensor | None = None,
        *,
        grid: tuple[int, int],
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Images; see `ImageDecoder`."""
        x = self.embed(latents)
        if mask is not None:
            x = torch.where(mask.unsqueeze(-1), x, self.missing)
        tokens = torch.cat([self.class_token, self.mask_token.expand(self.grid**2, -1)])
        tokens = (tokens + self.position_embedding).expand(x.shape[0], -1, -1)
        x = self.trunk(self.before(torch.cat([tokens, x + self.latent_embedding], dim=1)))
        patches = self.head(self.after(x[:, 1 : 1 + self.grid**2]))
        pixels = self.unpatch(patches.transpose(1, 2).unflatten(2, (self.grid, self.grid)))
        return self.smooth(pixels)

    @property
    def last_weight(self) -> Tensor:
        """Weight of the convolution over the seams or, without it, of the layer before."""
        return self.smooth.weight if isinstance(self.smooth, nn.Conv2d) else self.head.weight


class DenseDecoder(ImageDecoder):
    """One linear layer from a sequence of latents to those of a grid decoder.

    Args:
        dim: size of a latent vector.
        inner: decoder of a grid.
        positions: number of latents.
        grid: rows and columns of the inner decoder's latents.
    """

    takes_prefixes = True

    def __init__(self, dim: int, inner: ImageDecoder, positions: int, *, grid: int) -> None:
        super().__init__()
        self.dim = dim
        self.hop_length = inner.hop_length
        self.inner = inner
        self.grid = (grid, grid)
        self.missing = nn.Parameter(torch.zeros(dim))
        self.linear = nn.Linear(positions * dim, inner.dim * grid**2)
        nn.init.normal_(self.linear.weight, std=1 / math.sqrt(positions * dim))

    def forward(
        self,
        latents: Tensor,
        mask: Tensor | None = None,
        *,
        grid: tuple[int, int],
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Images; see `ImageDecoder`."""
        if mask is not None:
            latents = torch.where(mask.unsqueeze(-1), latents, self.missing)
        inner = self.linear(latents.flatten(1)).unflatten(1, (-1, self.inner.dim))
        return self.inner(inner, grid=self.grid, generator=generator)

    @property
    def last_weight(self) -> Tensor | None:
        """Of the grid decoder."""
        return self.inner.last_weight
