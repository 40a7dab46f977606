"""Counts ids that come block by block, in memory and time in proportion to the ids."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

WAITING = 1 << 18  # ids that are counted at once, or more
DENSE = 1 << 16  # entries of all codebooks together that have a counter each

_Ints = NDArray[np.int64]


class GroupUse(NamedTuple):
    """How the ids of one group use its codebook.

    Attributes:
        distinct: number of ids that occur.
        perplexity: exponential of the entropy of the ids, the effective number of entries in use;
            0 if there are no ids.
    """

    distinct: int
    perplexity: float


class IdCounts:
    """How often each id of each group occurs.

    Args:
        vocab: codebook size of each group.
    """

    def __init__(self, vocab: tuple[int, ...]) -> None:
        self._first = np.cumsum([0, *vocab])  # of each group, if all entries are numbered
        self._entries = np.arange(self._first[-1] if self._first[-1] <= DENSE else 0)
        self._counts = np.zeros_like(self._entries)
        self._waiting: list[_Ints] = []
        self._size = 0

    def add(self, ids: Tensor) -> None:
        """Count ids, int64 [positions, groups], each in its codebook."""
        self._waiting.append((ids.numpy() + self._first[:-1]).reshape(-1))
        self._size += ids.numel()
        if self._size >= max(WAITING, len(self._entries)):
            self._count()

    def use(self) -> list[GroupUse]:
        """How each group uses its codebook."""
        self._count()
        entries, counts = self._entries[self._counts > 0], self._counts[self._counts > 0]
        groups = len(self._first) - 1
        group = np.searchsorted(self._first, entries, side="right") - 1
        distinct = np.bincount(group, minlength=groups)
        shares = counts * (groups / max(1, counts.sum()))  # all groups have as many ids
        entropy = -np.bincount(group, shares * np.log(shares), minlength=groups)
        perplexity = np.exp(entropy) * (distinct > 0)
        return list(map(GroupUse, distinct.tolist(), perplexity.tolist()))

    def _count(self) -> None:
        """Count the ids that wait."""
        if not self._waiting:
            return
        waiting = np.concatenate(self._waiting)
        self._waiting, self._size = [], 0
        if self._first[-1] <= DENSE:
            self._counts += np.bincount(waiting, minlength=len(self._counts))
            return
        found, counts = np.unique(waiting, return_counts=True)
        entries = np.concatenate([self._entries, found])
        order = np.argsort(entries, kind="stable")
        entries = entries[order]
        first = np.unique(entries, return_index=True)[1]
        counts = np.concatenate([self._counts, counts])[order]
        self._entries, self._counts = entries[first], np.add.reduceat(counts, first)
