"""Standardisation of every position and channel over the batch, with running statistics.

Batch normalisation (Ioffe and Szegedy, 2015) without scale and shift, whose statistics belong to
single positions: where the vectors of different items hardly differ, it is that difference which
is brought to unit variance. A position's statistics start with its first batch, those of a batch
are over all processes, and a value that is not finite leaves the running ones as they are.
"""

import torch
from torch import Tensor, nn

from intaglio.codecs.layers.distributed import shared_sum
from intaglio.codecs.layers.tracing import exporting


class PositionNorm(nn.Module):
    """Zero mean and unit variance over the items of a batch.

    Args:
        positions: of an item.
        channels: of a position.
        momentum: share of a batch in the running statistics.
        eps: added to the variance.

    Attributes:
        mean: running mean, float32 [positions, channels].
        variance: running variance, float32 [positions, channels].
        initialised: positions that have had a batch, bool [positions, 1].
    """

    mean: Tensor
    variance: Tensor
    initialised: Tensor

    def __init__(
        self, positions: int, channels: int, *, momentum: float = 0.1, eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.positions = positions
        self.momentum = momentum
        self.eps = eps
        self.register_buffer("mean", torch.zeros(positions, channels))
        self.register_buffer("variance", torch.ones(positions, channels))
        self.register_buffer("initialised", torch.zeros(positions, 1, dtype=torch.bool))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """In training by the statistics of the batch, which update the running ones; else `frozen`.

        A position that fewer than two items of all processes have uses the running statistics.

        Args:
            x: float32 [batch, positions, channels].
            mask: bool [batch, positions], which of them count; all if None.

        Raises:
            ValueError: another number of positions.
        """
        if not self.training:
            return self.frozen(x)
        self._check(x)
        kept = torch.ones_like(x[..., :1], dtype=torch.bool) if mask is None else mask.unsqueeze(-1)
        count = shared_sum(kept.sum(0).to(x.dtype))
        mean = shared_sum(torch.where(kept, x, 0).sum(0)) / count.clamp(min=1)
        squares = torch.where(kept, (x - mean).square(), 0)
        variance = shared_sum(squares.sum(0)) / count.clamp(min=1)
        enough = count > 1
        self._update(mean.detach(), variance.detach(), enough)
        mean = torch.where(enough, mean, self.mean)
        variance = torch.where(enough, variance, self.variance)
        return (x - mean) / (variance + self.eps).sqrt()

    def frozen(self, x: Tensor) -> Tensor:
        """By the running statistics, whatever the mode; changes nothing."""
        self._check(x)
        return (x - self.mean) / (self.variance + self.eps).sqrt()

    def _check(self, x: Tensor) -> None:
        if not exporting() and x.shape[1] != self.positions:
            raise ValueError(
                f"statistics of {self.positions} positions do not fit {x.shape[1]} positions"
            )

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor, enough: Tensor) -> None:
        valid = enough & mean.isfinite().all() & variance.isfinite().all()
        share = torch.where(self.initialised, self.momentum, 1.0)
        self.mean.copy_(torch.where(valid, self.mean.lerp(mean, share), self.mean))
        updated = self.variance.lerp(variance, share)
        self.variance.copy_(torch.where(valid, updated, self.variance))
        self.initialised |= valid
