"""Quantization after the training (TokenBridge; Wang et al., 2025).

A continuous bottleneck is trained; its latents are quantized dimension by dimension, by statistics
that were gathered in training.
"""

import torch
from torch import Tensor

from intaglio.codecs.layers.distributed import rank_and_size, summed
from intaglio.codecs.quantizers.base import Quantized, Quantizer
from intaglio.codecs.quantizers.continuous import KLBottleneck
from intaglio.codecs.quantizers.dimensionwise import DimensionwiseQuantizer


class PostTrainingQuantizer(Quantizer):
    """In training mode a `KLBottleneck`, otherwise a `DimensionwiseQuantizer` of its means.

    Losses: those of the bottleneck.

    Args:
        dim: size of a latent vector; the encoder gives twice that, means first.
        bits: of each dimension.
        decay: of the running mean and standard deviation of each dimension.
    """

    updates: Tensor
    squares: Tensor

    def __init__(self, dim: int, bits: int = 6, *, decay: float = 0.99) -> None:
        super().__init__()
        self.dim = dim
        self.bottleneck = KLBottleneck(dim)
        self.quantizer = DimensionwiseQuantizer(dim, bits)
        self.vocab = self.quantizer.vocab
        self.decay = decay
        self.register_buffer("updates", torch.tensor(0))
        self.register_buffer("squares", torch.ones(dim))

    @property
    def input_dim(self) -> int:
        """Mean and logarithm of the variance of each latent."""
        return self.bottleneck.input_dim

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        """Draw values and update their statistics, or quantize."""
        mean = self._means(latents)
        free = self.bottleneck(latents, mask)
        if self.training:
            self._update(mean.detach() if mask is None else mean.detach()[mask])
        quantized = self.quantizer(mean, mask)
        values = free.values if self.training else quantized.values
        return Quantized(values, quantized.ids, free.losses, quantized.stats)

    def encode_ids(self, latents: Tensor) -> Tensor:
        """Ids, int64 [batch, positions, dim], of latents [batch, positions, 2 * dim]."""
        return self.quantizer.encode_ids(self._means(latents))

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Latents, float32 [batch, positions, dim]."""
        return self.quantizer.decode_ids(ids)

    def _means(self, latents: Tensor) -> Tensor:
        return latents.float()[..., : self.dim]

    @torch.no_grad()
    def _update(self, means: Tensor) -> None:
        """Running mean and mean square, of all processes; the first step sets them."""
        flat = means.reshape(-1, self.dim)
        size = rank_and_size()[1]
        found = summed(torch.stack([flat.mean(0), flat.square().mean(0)])) / size
        if not bool(found.isfinite().all()):
            return
        share = 1.0 if int(self.updates) == 0 else 1 - self.decay
        self.updates += 1
        mean = self.quantizer.mean.lerp(found[0], share)
        self.squares.lerp_(found[1], share)
        variance = (self.squares - mean.square()).clamp(min=1e-8)
        self.quantizer.fit(mean, variance.sqrt())
