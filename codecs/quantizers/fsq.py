"""Finite scalar quantization (Mentzer et al., 2023): every dimension rounded to a few levels.

Bounds, codes and index order are those of vector-quantize-pytorch's FSQ: the first dimension is the
least significant digit. There is no codebook to collapse and nothing to update.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from intaglio.codecs.quantizers.base import Quantized, Quantizer
from intaglio.codecs.quantizers.usage import perplexity


class FSQ(Quantizer):
    """Scalar quantization with a linear layer on either side.

    Args:
        dim: size of a latent vector.
        levels: number of levels of each dimension, each at least 3; their product is the codebook
            size.
    """

    levels: Tensor
    basis: Tensor

    def __init__(self, dim: int, levels: Sequence[int] = (8, 5, 5, 5)) -> None:
        super().__init__()
        if not levels or min(levels) < 3:
            raise ValueError(f"FSQ needs at least one dimension of at least 3 levels, got {levels}")
        self.dim = dim
        self.vocab = (math.prod(levels),)
        self.project_in = nn.Linear(dim, len(levels)) if dim != len(levels) else nn.Identity()
        self.project_out = nn.Linear(len(levels), dim) if dim != len(levels) else nn.Identity()
        sizes = torch.tensor(levels)
        self.register_buffer("levels", sizes, persistent=False)
        self.register_buffer("basis", sizes.cumprod(0) // sizes, persistent=False)

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantize with a straight-through gradient. There are no losses."""
        with torch.autocast(latents.device.type, enabled=False):
            bounded = self._bound(latents)
            digits = bounded + (bounded.round() - bounded).detach()
            values = self.project_out(digits / self._half_width())
            ids = self._ids(digits.detach())
            kept = ids if mask is None else ids[mask]
            stats = {"perplexity": perplexity(kept, self.vocab[0])}
        return Quantized(values, ids, {}, stats)

    def encode_ids(self, latents: Tensor) -> Tensor:
        """Ids, int64 [batch, positions, 1]."""
        with torch.autocast(latents.device.type, enabled=False):
            return self._ids(self._bound(latents).round())

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Latents, float32 [batch, positions, dim]."""
        digits = torch.remainder(ids.div(self.basis, rounding_mode="floor"), self.levels)
        half = self._half_width()
        return self.project_out((digits - half) / half)

    def _bound(self, latents: Tensor) -> Tensor:
        half = (self.levels - 1) * (1 + 1e-3) / 2
        offset = torch.where(self.levels % 2 == 0, 0.5, 0.0)
        shift = (offset / half).atanh()
        return (self.project_in(latents.float()) + shift).tanh() * half - offset

    def _half_width(self) -> Tensor:
        return (self.levels // 2).float()

    def _ids(self, digits: Tensor) -> Tensor:
        # in integers from here on: half precision would lose indices
        places = digits.round().long() + self.levels // 2
        return (places * self.basis).sum(-1, keepdim=True)
