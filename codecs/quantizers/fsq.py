"""Finite scalar quantization (Mentzer et al., 2023): every dimension rounded to a few levels.

Bounds, codes and index order are those of vector-quantize-pytorch's FSQ: the first dimension is the
least significant digit. There is no codebook to collapse and nothing to update. Where all items
start with the same ids, because their latents hardly differ, two options spread them: latents
standardised over the batch, and items that pass without rounding in training.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from intaglio.codecs.layers.position_norm import PositionNorm
from intaglio.codecs.quantizers.base import Quantized, Quantizer, straight_through
from intaglio.codecs.quantizers.usage import perplexity


class FSQ(Quantizer):
    """Scalar quantization with a linear layer on either side.

    Args:
        dim: size of a latent vector.
        levels: number of levels of each dimension, each at least 3; their product is the codebook
            size.
        standardise: positions of an item, each of whose dimensions is brought to zero mean and unit
            variance over the items before it is bounded (`PositionNorm`); None leaves them.
        noise_dropout: probability that an item of a training batch passes bounded but not rounded.
        margin: share by which the bounds lie outside the outermost levels; S3 has -0.001.

    Raises:
        ValueError: levels or a probability out of range.
    """

    levels: Tensor
    basis: Tensor

    def __init__(
        self,
        dim: int,
        levels: Sequence[int] = (8, 5, 5, 5),
        *,
        standardise: int | None = None,
        noise_dropout: float = 0.0,
        margin: float = 1e-3,
    ) -> None:
        super().__init__()
        if not levels or min(levels) < 3:
            raise ValueError(f"FSQ needs at least one dimension of at least 3 levels, got {levels}")
        if not 0 <= noise_dropout <= 1:
            raise ValueError(f"a probability lies in [0, 1], got noise_dropout {noise_dropout}")
        if not -0.1 <= margin <= 0.1:
            raise ValueError(f"margin lies in [-0.1, 0.1], got {margin}")
        self.dim = dim
        self.vocab = (math.prod(levels),)
        self.margin = margin
        self.noise_dropout = noise_dropout
        self.project_in = nn.Linear(dim, len(levels)) if dim != len(levels) else nn.Identity()
        self.project_out = nn.Linear(len(levels), dim) if dim != len(levels) else nn.Identity()
        self.standard = None if standardise is None else PositionNorm(standardise, len(levels))
        sizes = torch.tensor(levels)
        self.register_buffer("levels", sizes, persistent=False)
        self.register_buffer("basis", sizes.cumprod(0) // sizes, persistent=False)

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantize with a straight-through gradient. There are no losses.

        All processes of a training that standardises must call this alike.
        """
        with torch.autocast(latents.device.type, enabled=False):
            projected = self.project_in(latents.float())
            if self.standard is not None:
                projected = self.standard(projected, mask)
            bounded = self._bound(projected)
            ids = self._ids(bounded.detach().nan_to_num())  # a bad batch is the trainer's to skip
            digits = straight_through(bounded, bounded.round())
            if self.training and self.noise_dropout:
                whole = torch.rand(len(latents), 1, 1) < self.noise_dropout
                digits = torch.where(whole.to(latents.device), bounded, digits)
            values = self.project_out(digits / self._half_width())
            kept = ids if mask is None else ids[mask]
            stats = {"perplexity": perplexity(kept, self.vocab[0])}
        return Quantized(values, ids, {}, stats)

    def encode_ids(self, latents: Tensor) -> Tensor:
        """Ids, int64 [batch, positions, 1]."""
        with torch.autocast(latents.device.type, enabled=False):
            projected = self.project_in(latents.float())
            if self.standard is not None:
                projected = self.standard.frozen(projected)
            return self._ids(self._bound(projected))

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Latents, float32 [batch, positions, dim]."""
        digits = torch.remainder(ids.div(self.basis, rounding_mode="floor"), self.levels)
        half = self._half_width()
        with torch.autocast(ids.device.type, enabled=False):
            return self.project_out((digits - half) / half)

    def _bound(self, projected: Tensor) -> Tensor:
        half = (self.levels - 1) * (1 + self.margin) / 2
        offset = torch.where(self.levels % 2 == 0, 0.5, 0.0)
        shift = (offset / half).atanh()
        return (projected + shift).tanh() * half - offset

    def _half_width(self) -> Tensor:
        return (self.levels // 2).float()

    def _ids(self, digits: Tensor) -> Tensor:
        # in integers from here on: half precision would lose indices
        numbers = digits.round().long() + self.levels // 2
        return (numbers * self.basis).sum(-1, keepdim=True)
