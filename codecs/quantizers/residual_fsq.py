"""Residual finite scalar quantization: a grid, and finer grids inside its cells.

After vector-quantize-pytorch's ResidualFSQ, with equal ids: symmetric grids of evenly spaced
levels on [-1, 1], each level of the residue finer by the number of levels. A latent is first bent
softly into the region that the cells of the first grid cover.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from intaglio.codecs.quantizers.base import Quantized, Quantizer, straight_through
from intaglio.codecs.quantizers.usage import perplexity


class ResidualFSQ(Quantizer):
    """Scalar quantization in several depths with a linear layer on either side. No losses.

    Args:
        dim: size of a latent vector.
        levels: levels of each dimension, each at least 2; their product is the codebook size.
        depth: number of grids inside one another, one group of ids each.
    """

    levels: Tensor
    basis: Tensor

    def __init__(self, dim: int, levels: Sequence[int] = (5, 5, 5), *, depth: int = 4) -> None:
        super().__init__()
        if not levels or min(levels) < 2 or depth < 1:
            raise ValueError(
                f"residual FSQ needs levels from 2 on and a depth, got {levels}, {depth}"
            )
        self.dim = dim
        self.depth = depth
        self.vocab = (math.prod(levels),) * depth
        self.project_in = nn.Linear(dim, len(levels)) if dim != len(levels) else nn.Identity()
        self.project_out = nn.Linear(len(levels), dim) if dim != len(levels) else nn.Identity()
        sizes = torch.tensor(levels)
        self.register_buffer("levels", sizes, persistent=False)
        self.register_buffer("basis", sizes.cumprod(0) // sizes, persistent=False)

    @property
    def level_groups(self) -> tuple[int, ...]:
        """One group for each grid."""
        return (1,) * self.depth

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantize with a straight-through gradient."""
        with torch.autocast(latents.device.type, enabled=False):
            bent = self._bent(latents)
            ids = self._ids(bent.detach().nan_to_num(), self.depth)
            values = self.project_out(straight_through(bent, self._grid(ids)))
            kept = ids if mask is None else ids[mask]
            each = [perplexity(kept[..., group], self.vocab[0]) for group in range(self.depth)]
        return Quantized(values, ids, {}, {"perplexity": torch.stack(each).mean()})

    def encode_ids(self, latents: Tensor) -> Tensor:
        """Ids, int64 [batch, positions, depth]."""
        return self.encode_levels(latents, self.depth)

    def encode_levels(self, latents: Tensor, levels: int) -> Tensor:
        """Ids of the first grids."""
        with torch.autocast(latents.device.type, enabled=False):
            return self._ids(self._bent(latents), levels)

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Latents, float32 [batch, positions, dim]."""
        with torch.autocast(ids.device.type, enabled=False):
            return self.project_out(self._grid(ids))

    def _bent(self, latents: Tensor) -> Tensor:
        bound = 1 + 1 / (self.levels.float() - 1)
        return (self.project_in(latents.float()) / bound).tanh() * bound

    def _ids(self, residual: Tensor, depth: int) -> Tensor:
        steps = (self.levels - 1).float() / 2
        ids = []
        for level in range(depth):
            scale = self.levels.float() ** -level
            digits = ((residual / scale).clamp(-1, 1) * steps + steps).round()
            residual = residual - (digits / steps - 1) * scale
            # in integers from here on: half precision would lose indices
            ids.append((digits.long() * self.basis).sum(-1))
        return torch.stack(ids, dim=-1)

    def _grid(self, ids: Tensor) -> Tensor:
        """Sum of the grid points, in the space between the linear layers."""
        digits = ids.unsqueeze(-1).div(self.basis, rounding_mode="floor")
        digits = torch.remainder(digits, self.levels)
        points = 2 * digits / (self.levels - 1).float() - 1
        scales = self.levels.float() ** -torch.arange(ids.shape[-1], device=ids.device).unsqueeze(1)
        return (points * scales).sum(-2)
