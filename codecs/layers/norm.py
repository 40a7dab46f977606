"""Normalisations that respect item lengths and conditions."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GroupNorm1d(nn.GroupNorm):
    """Group normalisation over time (Wu and He, 2018) that counts only an item's own steps."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[batch, channels, time] → the same shape; ``mask`` is bool [batch, time]."""
        if mask is None:
            return super().forward(x)
        batch, channels, time = x.shape
        weight = mask.view(batch, 1, 1, time).to(x.dtype)
        groups = x.view(batch, self.num_groups, channels // self.num_groups, time)
        count = weight.sum((2, 3), keepdim=True) * groups.shape[2]
        mean = (groups * weight).sum((2, 3), keepdim=True) / count
        variance = ((groups - mean).square() * weight).sum((2, 3), keepdim=True) / count
        normal = ((groups - mean) * (variance + self.eps).rsqrt()).view(batch, channels, time)
        return normal * self.weight.unsqueeze(-1) + self.bias.unsqueeze(-1)


class AdaLayerNorm(nn.Module):
    """Layer normalisation whose scale and shift are looked up by a condition (Vocos, Siuzdak 2023).

    Args:
        dim: size of the last axis.
        conditions: number of conditions, at least 1; one is a plain layer normalisation.
        eps: added to the variance.
    """

    def __init__(self, dim: int, conditions: int = 1, eps: float = 1e-6) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps
        self.scale = nn.Parameter(torch.ones(conditions, dim))
        self.shift = nn.Parameter(torch.zeros(conditions, dim))

    def forward(self, x: Tensor, condition: int = 0) -> Tensor:
        """[..., dim] → the same shape, under one condition for the whole batch."""
        return F.layer_norm(x, (self.dim,), self.scale[condition], self.shift[condition], self.eps)
