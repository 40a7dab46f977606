"""Perturbation of chosen codes in training (RobustTok; Qiu et al., 2025).

Some codes of some items are replaced by near ones before they are decoded, so that the
decoder learns to tolerate small errors of a generator. Losses and ids of the quantizer do not
change.
"""

import torch
from torch import Generator, Tensor

from intaglio.codecs.part import Part
from intaglio.codecs.quantizers.codebook import SCORES_AT_ONCE


class Perturbation(Part):
    """Replaces codes by one of the nearest ones.

    The attributes may be changed during a training; the published schedule holds them for 40
    epochs and then lowers ``rate`` and ``strength`` to half, linearly until epoch 120.

    Args:
        rate: probability that a position of a perturbed item draws its code anew.
        strength: nearest codes that are drawn from uniformly, including the code itself; hence
            rate * (1 - 1 / strength) of the positions change.
        share: of the items of a batch that are perturbed, the first ones.

    Raises:
        ValueError: a rate or share outside [0, 1], or a strength below 1.
    """

    def __init__(self, rate: float = 1.0, strength: int = 100, *, share: float = 0.1) -> None:
        super().__init__()
        if not (0 <= rate <= 1 and 0 <= share <= 1) or strength < 1:
            raise ValueError(
                f"need a rate and share in [0, 1] and a strength from 1 on, got {rate}, {share}, "
                f"{strength}"
            )
        self.rate = rate
        self.strength = strength
        self.share = share

    @torch.no_grad()
    def forward(
        self, ids: Tensor, vectors: Tensor, codes: Tensor, generator: Generator | None = None
    ) -> Tensor:
        """Ids of what is decoded, int64 [batch, positions].

        Args:
            ids: the nearest codes, int64 [batch, positions].
            vectors: what was quantized, float32 [batch, positions, dim].
            codes: float32 [codes, dim].
            generator: on the CPU; torch's global one if None.

        Raises:
            ValueError: there are fewer codes than ``strength``.
        """
        if self.strength > len(codes):
            raise ValueError(f"cannot draw from {self.strength} of {len(codes)} codes")
        count = int(self.share * len(ids))
        if count == 0 or self.strength == 1:
            return ids
        drawn = torch.rand(count, ids.shape[1], generator=generator) < self.rate
        ranks = torch.randint(self.strength, drawn.shape, generator=generator) * drawn
        ranks = ranks.to(ids.device).flatten()
        near = _ranked(vectors[:count].flatten(0, 1), codes, ranks).view(count, -1)
        changed = torch.where(ranks.view(count, -1) > 0, near, ids[:count])
        return torch.cat([changed, ids[count:]])


def _ranked(vectors: Tensor, codes: Tensor, ranks: Tensor) -> Tensor:
    """Index of the code at a rank of nearness, 0 the nearest, to each vector; int64 [vectors]."""
    half_norm = codes.square().sum(1).mul(-0.5)
    rows = max(1, SCORES_AT_ONCE // len(codes))
    most = int(ranks.max()) + 1
    found = []
    for part, rank in zip(vectors.split(rows), ranks.split(rows), strict=True):
        order = torch.addmm(half_norm, part, codes.t()).topk(most, dim=1).indices
        found.append(order.gather(1, rank.unsqueeze(1)).squeeze(1))
    return torch.cat(found)
