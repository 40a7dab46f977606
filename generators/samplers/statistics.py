"""What a sampler reports of its passes."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Statistics(NamedTuple):
    """How far speculation went, in a batch or an item.

    Attributes:
        passes: of the generator over the batch.
        item_passes: passes up to the end of each item, of all items.
        tokens: that became certain, of all items.
        drafts: that could have been kept.
        accepted: drafts that were kept.
        excess: sum over the tokens of how far the distribution of each is from the target's, in
            total variation, or a bound of it: 0 of exact rules.
    """

    passes: int = 0
    item_passes: int = 0
    tokens: int = 0
    drafts: int = 0
    accepted: int = 0
    excess: float = 0.0

    @property
    def acceptance(self) -> float:
        """Share of the drafts that was kept."""
        return self.accepted / max(1, self.drafts)

    @property
    def tokens_per_pass(self) -> float:
        """Tokens of an item in a pass, on average: 1 in plain sampling."""
        return self.tokens / max(1, self.item_passes)

    def record(self) -> dict[str, float]:
        """What is written beside an item."""
        return {
            "passes": self.item_passes,
            "tokens_per_pass": round(self.tokens_per_pass, 3),
            "acceptance": round(self.acceptance, 3),
            "tv_excess": round(self.excess, 6),
        }


class Ledger:
    """What became of the drafts of each item of a batch.

    Args:
        batch: items.
        device: of the counts, where they stay until someone asks.

    Attributes:
        passes: over the batch.
    """

    def __init__(self, batch: int, device: torch.device) -> None:
        self.passes, self._same = 0, [0, 0, 0, 0]
        self._counts = torch.zeros(4, batch, dtype=torch.int64, device=device)
        self._excess = torch.zeros(batch, dtype=torch.float64, device=device)

    def add_same(self, counts: Sequence[int], passes: int = 1) -> None:
        """As `add`, the same counts of all items and no excess, where no tensors are needed."""
        counts = [counts[0] * passes, *counts[1:]]
        self._same = [old + new for old, new in zip(self._same, counts, strict=True)]

    def add(self, counts: Tensor, excess: Tensor | None, passes: int = 1) -> None:
        """Count a round.

        Args:
            counts: int64 [4, batch], of the fields of `Statistics` from ``item_passes`` on, for one
                pass.
            excess: float [batch]; None is 0.
            passes: that it took.
        """
        self._counts[0] += counts[0] * passes
        self._counts[1:] += counts[1:]
        if excess is not None:
            self.add_excess(excess)

    def add_excess(self, excess: Tensor) -> None:
        """Count what a round adds to it, float [batch]."""
        self._excess += excess

    def clear(self) -> None:
        """Begin to count anew."""
        self.passes, self._same = 0, [0, 0, 0, 0]
        self._counts.zero_()
        self._excess.zero_()

    def _all(self) -> Tensor:
        return self._counts + self._counts.new_tensor(self._same).unsqueeze(1)

    def total(self) -> Statistics:
        """Of all items."""
        passes, tokens, drafts, accepted = self._all().sum(1).tolist()
        excess = float(self._excess.sum())
        return Statistics(self.passes, passes, tokens, drafts, accepted, excess)

    def items(self) -> list[Statistics]:
        """Of each item."""
        found = []
        for counts, excess in zip(self._all().T.tolist(), self._excess.tolist(), strict=True):
            passes, tokens, drafts, accepted = counts
            found.append(Statistics(passes, passes, tokens, drafts, accepted, excess))
        return found
