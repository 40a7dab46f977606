"""Dimension-wise quantization of trained latents (TokenBridge; Wang et al., 2025).

Nothing is trained: every dimension of a latent is standardised and rounded to the nearest of
2 ** bits centroids of a normal distribution that is cut off at ``spread``: the means of equally
likely intervals. Before that, [-reach, reach] is mapped linearly onto [-spread, spread], as the
release does it; what lies outside goes to the outermost centroid.
"""

import torch
from torch import Tensor

from intaglio.codecs.quantizers.base import Quantized, Quantizer, straight_through
from intaglio.codecs.quantizers.usage import perplexity


class DimensionwiseQuantizer(Quantizer):
    """One id for each dimension. No losses.

    Args:
        dim: size of a latent vector, and number of groups of ids.
        bits: of a dimension, 1 to 10.
        spread: where the normal distribution ends, in standard deviations.
        reach: the standardised latent that is mapped onto ``spread``.

    Attributes:
        mean: of each dimension of the latents, float32 [dim]; 0 before `fit`.
        std: standard deviation of each dimension, float32 [dim]; 1 before `fit`.

    Raises:
        ValueError: bits, spread or reach out of range.
    """

    mean: Tensor
    std: Tensor
    centroids: Tensor
    borders: Tensor

    def __init__(self, dim: int, bits: int = 6, *, spread: float = 3.0, reach: float = 5.0) -> None:
        super().__init__()
        if not 1 <= bits <= 10 or spread <= 0 or reach <= 0:
            raise ValueError(
                f"need 1 to 10 bits and a positive spread and reach, got {bits}, {spread}, {reach}"
            )
        self.dim = dim
        self.vocab = (2**bits,) * dim
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))
        points = normal_centroids(2**bits, spread) * (reach / spread)
        borders = (points[1:] + points[:-1]) / 2
        self.register_buffer("centroids", points.float(), persistent=False)
        self.register_buffer("borders", borders.float(), persistent=False)

    @torch.no_grad()
    def fit(self, mean: Tensor, std: Tensor) -> None:
        """Set the statistics of the latents, each [dim].

        Raises:
            ValueError: wrong shapes, or a standard deviation that is not positive and finite.
        """
        if mean.shape != self.mean.shape or std.shape != self.mean.shape:
            raise ValueError(
                f"statistics must be [{self.dim}], got {list(mean.shape)} and {list(std.shape)}"
            )
        if not (mean.isfinite().all() and std.isfinite().all() and (std > 0).all()):
            raise ValueError(
                f"statistics must be finite with standard deviations above 0, got means "
                f"{mean.tolist()} and standard deviations {std.tolist()}"
            )
        self.mean.copy_(mean)
        self.std.copy_(std)

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantize with a straight-through gradient."""
        with torch.autocast(latents.device.type, enabled=False):
            ids = self._ids(latents)
            values = straight_through(latents.float(), self._values(ids))
            kept = ids.flatten(0, 1) if mask is None else ids[mask]
            each = [perplexity(kept[:, group], self.vocab[0]) for group in range(self.dim)]
        return Quantized(values, ids, {}, {"perplexity": torch.stack(each).mean()})

    def encode_ids(self, latents: Tensor) -> Tensor:
        """Ids, int64 [batch, positions, dim]."""
        return self._ids(latents)

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Latents, float32 [batch, positions, dim]."""
        return self._values(ids)

    def _ids(self, latents: Tensor) -> Tensor:
        standard = (latents.float() - self.mean) / self.std
        return (standard.unsqueeze(-1) > self.borders).sum(-1)

    def _values(self, ids: Tensor) -> Tensor:
        return self.centroids[ids] * self.std + self.mean


def normal_centroids(count: int, spread: float) -> Tensor:
    """Means of ``count`` equally likely intervals of a standard normal cut off at ±spread.

    With φ and Φ the density and distribution of the normal and t the borders of the intervals,
    Φ⁻¹(i / count) inside and ±spread at the ends, (φ(t_i) - φ(t_{i+1})) / (Φ(t_{i+1}) - Φ(t_i)).

    Returns:
        float64 [count], ascending.
    """
    shares = torch.arange(count + 1, dtype=torch.float64) / count
    borders = torch.special.ndtri(shares).clamp(-spread, spread)
    density = torch.exp(-borders.square() / 2) / (2 * torch.pi) ** 0.5
    return (density[:-1] - density[1:]) / torch.special.ndtr(borders).diff()
