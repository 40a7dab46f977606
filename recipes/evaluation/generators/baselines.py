"""Nats of tokens by tables of counts with additive smoothing: the baselines of a generator.

The table of class and position is what a generator reaches that looks at no other token, and the
bigram what one reaches that looks at the last token only. The added constant is the best of
`ALPHAS` on the validation side, for each table. Groups of a token are counted separately and their
nats are summed.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from intaglio.recipes.evaluation.generators.tokens import TokenSide

ALPHAS = (0.01, 0.03, 0.1, 0.3, 1.0)
USUAL_ALPHA = 0.1  # without a validation side

Context = Callable[[Tensor, Tensor], Tensor]  # of ids [items, positions] and labels [items]


class TableNats(NamedTuple):
    """Nats of each token by a table, float64 [items, positions], and the constant of the table."""

    nats: Tensor
    alpha: float


class CountTable:
    """Counts of ids by their contexts.

    Args:
        contexts: int64 [tokens], at least 0.
        ids: int64 [tokens], below ``size``.
        size: of the codebook.
    """

    def __init__(self, contexts: Tensor, ids: Tensor, size: int) -> None:
        self.size = size
        self.pairs = (contexts * size + ids).unique(return_counts=True)
        self.contexts = contexts.unique(return_counts=True)

    def nats(self, contexts: Tensor, ids: Tensor, alpha: float) -> Tensor:
        """-ln((count + alpha) / (all of this context + alpha * size)), float64 [tokens]."""
        count = _looked_up(self.pairs, contexts * self.size + ids)
        every = _looked_up(self.contexts, contexts)
        return ((every + alpha * self.size) / (count + alpha)).log()


def unigram(ids: Tensor, labels: Tensor) -> Tensor:
    """One table for all tokens."""
    return torch.zeros_like(ids)


def position_unigram(ids: Tensor, labels: Tensor) -> Tensor:
    """A table for each position."""
    return torch.arange(ids.shape[1]).expand_as(ids)


def class_position_unigram(ids: Tensor, labels: Tensor) -> Tensor:
    """A table for each class and position; items without a class form one too."""
    return (labels.unsqueeze(1) + 1) * ids.shape[1] + torch.arange(ids.shape[1])


def bigram(ids: Tensor, labels: Tensor) -> Tensor:
    """A table for each previous token; the first token has one of its own."""
    return torch.cat([torch.zeros_like(ids[:, :1]), ids[:, :-1] + 1], dim=1)


TABLES: dict[str, Context] = {
    "unigram": unigram,
    "bigram": bigram,
    "position unigram": position_unigram,
    "class-position unigram": class_position_unigram,
}


def table_nats(
    context: Context, train: TokenSide, tune: TokenSide, held: TokenSide, vocab: Sequence[int]
) -> TableNats:
    """Nats of held-out tokens by counts of all training views.

    Args:
        context: of `TABLES`.
        train: is counted.
        tune: decides on the constant; it may be empty.
        held: is predicted.
        vocab: sizes of the codebooks.
    """
    tables = [
        CountTable(context(ids, train.view_labels).flatten(), ids.flatten(), size)
        for ids, size in zip(train.views.unbind(2), vocab, strict=True)
    ]

    def nats(side: TokenSide, alpha: float) -> Tensor:
        found = [
            table.nats(context(ids, side.labels), ids, alpha)
            for ids, table in zip(side.tokens.unbind(2), tables, strict=True)
        ]
        return torch.stack(found).sum(0)

    alpha = USUAL_ALPHA
    if tune.items:
        alpha = min(ALPHAS, key=lambda one: float(nats(tune, one).mean()))
    return TableNats(nats(held, alpha), alpha)


def unigram_samples(train: TokenSide, count: int, *, seed: int = 0) -> Tensor:
    """Ids drawn independently of each other, each as often as in the training.

    Returns:
        int64 [count, positions, groups].
    """
    generator = Generator().manual_seed(seed)
    _, positions, groups = train.views.shape
    pools = train.views.flatten(0, 1)
    index = torch.randint(len(pools), (count * positions, groups), generator=generator)
    return pools.gather(0, index).unflatten(0, (count, positions))


def _looked_up(counted: tuple[Tensor, Tensor], keys: Tensor) -> Tensor:
    """Counts of keys, float64; 0 for those that never occurred."""
    known, counts = counted
    index = torch.searchsorted(known, keys.contiguous()).clamp_max(len(known) - 1)
    return torch.where(known[index] == keys, counts[index], 0).double()
