"""Image encoders to a sequence of latents, not a grid: TiTok's (2024) and FlexTok's (2025).

`LatentEncoder` lets learned latents attend to the patches (Yu et al.; Bachmann et al.).
`DenseEncoder` maps the latents of a grid to those of a sequence by one linear layer: it learns much
faster where there is little time, for one size of image.
"""

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from intaglio.codecs.encoders.base import ImageEncoder
from intaglio.codecs.layers.attention import causal_last
from intaglio.codecs.layers.positions import sine_grid
from intaglio.codecs.layers.transformer import Transformer


class LatentEncoder(ImageEncoder):
    """Patches and learned latents go through a transformer; the latents come out.

    Args:
        dim: size of a latent vector.
        trunk: the transformer.
        positions: number of latents.
        patch: side of a patch.
        grid: rows and columns of patches of the image.
        channels: of the image.
        causal: patches do not attend to latents, and a latent only to those before it (FlexTok);
            positions on the grid are then fixed sines. Otherwise all see all, with a class token,
            learned positions, and normalisations around the trunk (TiTok).
    """

    mask: Tensor | None
    sines: Tensor

    def __init__(
        self,
        dim: int,
        trunk: Transformer,
        positions: int,
        *,
        patch: int = 16,
        grid: int = 16,
        channels: int = 3,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.hop_length = patch
        self.positions = positions
        self.trunk = trunk
        width = trunk.dim
        self.embed = nn.Conv2d(channels, width, patch, stride=patch)
        self.latents = nn.Parameter(width**-0.5 * torch.randn(positions, width))
        self.causal = causal
        if causal:
            self.register_buffer("sines", sine_grid(grid, grid, width), persistent=False)
            self.register_buffer("mask", causal_last(grid**2, positions), persistent=False)
            self.before, self.after = nn.Identity(), nn.LayerNorm(width, elementwise_affine=False)
        else:
            self.mask = None
            self.class_token = nn.Parameter(width**-0.5 * torch.randn(1, width))
            self.position_embedding = nn.Parameter(width**-0.5 * torch.randn(grid**2 + 1, width))
            self.latent_embedding = nn.Parameter(width**-0.5 * torch.randn(positions, width))
            self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)  # type: ignore[assignment]
        self.head = nn.Linear(width, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Latents, [batch, positions, dim]; see `ImageEncoder`."""
        x = self.embed(x).flatten(2).transpose(1, 2)
        latents: Tensor = self.latents
        if not self.causal:
            x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1)
            latents = latents + self.latent_embedding
        embedding = self.sines if self.causal else self.position_embedding
        x = torch.cat([x + embedding, latents.expand(x.shape[0], -1, -1)], dim=1)
        x = self.trunk(self.before(x), self.mask)
        return self.head(self.after(x[:, -latents.shape[0] :]))


class DenseEncoder(ImageEncoder):
    """One linear layer from all latents of a grid encoder to a sequence of latents.

    Args:
        dim: size of a latent vector.
        inner: encoder over a grid.
        positions: number of latents.
        grid: rows and columns of the inner encoder's latents.
    """

    def __init__(self, dim: int, inner: ImageEncoder, positions: int, *, grid: int) -> None:
        super().__init__()
        self.dim = dim
        self.hop_length = inner.hop_length
        self.positions = positions
        self.inner = inner
        size = inner.dim * grid**2
        self.linear = nn.Linear(size, positions * dim)
        nn.init.normal_(self.linear.weight, std=1 / math.sqrt(size))

    def forward(self, x: Tensor) -> Tensor:
        """Latents, [batch, positions, dim]; see `ImageEncoder`."""
        return rearrange(self.linear(self.inner(x).flatten(1)), "b (n d) -> b n d", d=self.dim)
