"""Trees of drafts: several guesses of a token, each with guesses of what follows it."""

from typing import NamedTuple

import torch
from torch import Tensor


class Tree(NamedTuple):
    """Which draft follows which; made by `grown`.

    Entry 0 is the last token that is certain, entry i + 1 is draft i. A draft stands behind what it
    follows and behind its earlier siblings, the other drafts that follow the same.

    Attributes:
        parents: int64 [batch, window], the entry that each draft follows; here and below a batch
            of 1 serves all items.
        children: int64 [batch, window + 1, siblings], the drafts that follow each entry, in the
            order in which they were drawn; ``window`` where there is none.
        ancestors: bool [batch, window + 1, window + 1], whether the entry of the row is that of the
            column or follows it, directly or not.
        depths: int64 [batch, window + 1], how many drafts lead to each entry, itself included.
        levels: the largest depth there can be.
        independent: whether siblings were drawn from one distribution, independently.
    """

    parents: Tensor
    children: Tensor
    ancestors: Tensor
    depths: Tensor
    levels: int
    independent: bool = False

    def is_first(self) -> Tensor:
        """Which drafts have no elder siblings, bool [batch, window]."""
        same = self.parents.unsqueeze(2) == self.parents.unsqueeze(1)
        return ~same.tril(-1).any(2)

    def path(self, accepted: Tensor) -> tuple[Tensor, Tensor]:
        """The entries that are kept, as a chain.

        Args:
            accepted: bool [batch, window], which drafts are kept if what they follow is: one of
                several siblings at most.

        Returns:
            The entry of each depth, int64 [batch, levels + 1], and which of them are kept, bool;
            the others are the first of their depths, if there are any.
        """
        refused = (self.ancestors[..., 1:] & ~accepted.unsqueeze(1)).any(-1)
        levels = torch.arange(self.levels + 1, device=accepted.device)
        there = self.depths.unsqueeze(1) == levels.unsqueeze(1)
        kept = there & ~refused.unsqueeze(1)
        return (there.long() + kept.long()).argmax(-1), kept.any(-1)


def grown(parents: Tensor, *, siblings: int, levels: int, independent: bool = False) -> Tree:
    """A tree.

    Args:
        parents: see `Tree`.
        siblings: drafts that follow one entry, at most.
        levels: drafts that follow each other, at most.
        independent: see `Tree`.
    """
    batch, window = parents.shape
    same = parents.unsqueeze(2) == parents.unsqueeze(1)
    rank = same.tril(-1).sum(2)
    children = parents.new_full((batch, (window + 1) * siblings), window)
    drafts = torch.arange(window, device=parents.device).expand(batch, -1)
    children = children.scatter(1, parents * siblings + rank, drafts)
    follows = torch.eye(window + 1, device=parents.device).repeat(batch, 1, 1)
    follows[:, 1:].scatter_(2, parents.unsqueeze(2), 1.0)
    for _ in range(levels.bit_length()):  # steps of 1, 2, 4, … drafts
        follows = (follows @ follows).clamp_max(1)
    ancestors = follows.bool()
    depths = ancestors.sum(2) - 1
    return Tree(
        parents, children.view(batch, window + 1, -1), ancestors, depths, levels, independent
    )
