"""Drafts from a table of what came after what (Token Recycling; Luo et al., 2024)."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.generators.generator import Generator
from intaglio.generators.inference.counter_rng import Draws
from intaglio.generators.orders.base import Request
from intaglio.generators.orders.raster import RasterOrder
from intaglio.generators.samplers.acceptance.base import Window
from intaglio.generators.samplers.acceptance.tree import Tree, grown
from intaglio.generators.samplers.drafters.base import Drafter, Drafting, Prefix, Round

BUCKETS = 1 << 16  # of pairs of tokens
PRIME = 0x9E3779B1  # spreads pairs over buckets
UNKNOWN = -1


class AdjacencyDrafter(Drafter):
    """Drafts that are the likeliest successors of a token when it was last read.

    The table is learned while one samples: every pass says what is likely behind each token that it
    read, kept or not. In a grid there is a second table, of pairs of a token and the one above its
    successor, which is asked first. The drafts are chosen, not drawn: for `SampleMatch` and
    `GumbelMatch`. They depend on everything that was drawn before with this drafter, also on other
    items; the distribution of items does not.

    Args:
        branching: how many drafts follow each at depths 0, 1, …; the first of the table.
        above: whether there is the second table.

    Attributes:
        tables: of each group, once something was drawn; another drafter of this generator can go on
            with them (`successor_file`).
        source: where they come from, if not from what was drawn.

    Raises:
        ValueError: a number of drafts is below 1.
    """

    def __init__(self, branching: Sequence[int] = (4, 2, 1), *, above: bool = True) -> None:
        if not branching or min(branching) < 1:
            raise ValueError(f"1 draft or more follows another, got {list(branching)}")
        self.branching, self.above = tuple(branching), above
        self.tables: list[Successors] = []
        self.source: str | None = None

    def begin(self, generator: Generator, request: Request, window: int) -> Drafting:
        """See `Drafter.begin`; tables of other tokens are forgotten.

        Raises:
            ValueError: they come from a file.
        """
        width, device = max(self.branching), request.seeds.device
        wanted = [(size, min(width, size)) for size in generator.head.vocab]
        sizes = [tuple(one.last.shape) for one in self.tables]
        known = [size for size, _ in sizes]
        if self.source is not None and known != [size for size, _ in wanted]:
            raise ValueError(
                f"{self.source} is of tokens of {known} ids, and {generator.name} draws others, of "
                f"{list(generator.head.vocab)}"
            )
        if self.source is None and sizes != wanted:
            self.tables = [Successors.empty(*one, device) for one in wanted]
        self.tables = [Successors(*(part.to(device) for part in one)) for one in self.tables]
        shape = generator.shape
        grid = len(shape) == 2 and isinstance(generator.order, RasterOrder)
        columns = shape[1] if self.above and grid else 0
        return _AdjacencyDrafting(self, request.partial.given.shape[1], columns, device)


class Successors(NamedTuple):
    """What came behind the ids of a group.

    Attributes:
        last: int64 [vocab, width], behind each id, the likeliest first.
        pairs: int64 [buckets, width], behind pairs of ids.
        keys: int64 [buckets], which pair each bucket holds.
    """

    last: Tensor
    pairs: Tensor
    keys: Tensor

    @classmethod
    def empty(cls, vocab: int, width: int, device: torch.device) -> "Successors":
        """Tables that know nothing."""
        first = torch.arange(width, device=device)
        keys = torch.full((BUCKETS,), UNKNOWN, device=device)
        return cls(first.repeat(vocab, 1), first.repeat(BUCKETS, 1), keys)

    def of(self, ids: Tensor, above: Tensor) -> Tensor:
        """The likeliest successors, int64 [..., width].

        Args:
            ids: int64 [...].
            above: ids above the successors, int64 [...]; the size of the vocabulary where there is
                none, `UNKNOWN` where nobody knows.
        """
        pair, bucket = self._pair(ids, above)
        known = (self.keys[bucket] == pair) & (pair != UNKNOWN)
        return torch.where(known.unsqueeze(-1), self.pairs[bucket], self.last[ids])

    def learn(self, ids: Tensor, above: Tensor, successors: Tensor, counts: Tensor) -> None:
        """Remember the last of several successors; arguments as above.

        Args:
            ids, above: int64 [tokens].
            successors: int64 [tokens, width].
            counts: bool [tokens], which tokens count.
        """
        _put(self.last, ids, successors, counts)
        pair, bucket = self._pair(ids, above)
        counts = counts & (pair != UNKNOWN)
        _put(self.pairs, bucket, successors, counts)
        _put(self.keys.unsqueeze(1), bucket, pair.unsqueeze(1), counts)

    def _pair(self, ids: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        pair = ids * (len(self.last) + 1) + above
        pair = pair.masked_fill(above == UNKNOWN, UNKNOWN)
        return pair, (pair * PRIME >> 7) % BUCKETS


def _put(table: Tensor, rows: Tensor, values: Tensor, counts: Tensor) -> None:
    """Write rows of a table; of several values for one the last, on every device."""
    number = torch.arange(1, len(rows) + 1, device=rows.device) * counts
    latest = torch.zeros_like(table[:, 0]).scatter_reduce(0, rows, number, "amax")[rows]
    last = values[(latest - 1).clamp_min(0)]
    table[rows] = torch.where((latest > 0).unsqueeze(1), last, table[rows])


class _AdjacencyDrafting(Drafting):
    def __init__(
        self, drafter: AdjacencyDrafter, total: int, columns: int, device: torch.device
    ) -> None:
        self.tables, self.total, self.columns = drafter.tables, total, columns
        widest = min(table.last.shape[1] for table in self.tables)
        self.branching = tuple(min(count, widest) for count in drafter.branching)
        self.none = torch.tensor([len(table.last) for table in self.tables], device=device)
        self.read: _Entries | None = None

    def propose(self, prefix: Prefix, draws: Draws) -> Window:
        """See `Drafting.propose`."""
        window = draws.positions.shape[1]
        level = prefix.tokens.take_along_dim((prefix.lengths[:, None, None] - 1).clamp_min(0), 1)
        tokens, above, positions = [level], [], []
        for depth, count in enumerate((*self.branching, 0)):
            here = prefix.lengths + depth
            above.append(self._above(prefix, here, level.shape[1]))
            positions.append(here.unsqueeze(1).expand(level.shape[:2]))
            if count:
                triples = zip(self.tables, level.unbind(-1), above[-1].unbind(-1), strict=True)
                found = [table.of(*ids)[..., :count].flatten(1) for table, *ids in triples]
                room = window + 1 - sum(one.shape[1] for one in tokens)
                level = torch.stack(found, -1)[:, :room]
                tokens.append(level)
        every = torch.cat(tokens, 1)
        inside = (torch.cat(positions, 1) < self.total) & (prefix.lengths > 0).unsqueeze(1)
        self.read = _Entries(every, torch.cat(above, 1), inside)
        tree = branching_tree(self.branching, window, every.device)
        return Window(every[:, 1:], None, tree)

    def observe(self, round: Round) -> None:
        """See `Drafting.observe`."""
        read, self.read = self.read, None
        if read is None:
            return
        ids_above = zip(read.tokens.unbind(-1), read.above.unbind(-1), strict=True)
        for table, target, (ids, above) in zip(self.tables, round.target, ids_above, strict=True):
            likely = target.topk(table.last.shape[1], dim=-1).indices
            table.learn(ids.flatten(), above.flatten(), likely.flatten(0, 1), read.inside.flatten())

    def refill(self, rows: Tensor) -> bool:
        """See `Drafting.refill`: the tables are of all items."""
        return True

    def _above(self, prefix: Prefix, positions: Tensor, count: int) -> Tensor:
        """Tokens above positions of each item, int64 [batch, count, groups]."""
        if not self.columns:
            batch, _, groups = prefix.tokens.shape
            return prefix.tokens.new_full((batch, count, groups), UNKNOWN)
        index = (positions - self.columns).view(-1, 1, 1)
        found = prefix.tokens.take_along_dim(index.clamp(0, self.total - 1), 1)
        found = torch.where(index < 0, self.none, found)
        found = found.masked_fill(index >= prefix.lengths.view(-1, 1, 1), UNKNOWN)
        return found.expand(-1, count, -1)


class _Entries(NamedTuple):
    """The tokens that a pass reads.

    Attributes:
        tokens: int64 [batch, window + 1, groups].
        above: those above what follows each, of the same shape; see `Successors.of`.
        inside: bool [batch, window + 1], whether anything follows.
    """

    tokens: Tensor
    above: Tensor
    inside: Tensor


@lru_cache(maxsize=64)
def branching_tree(counts: tuple[int, ...], window: int, device: torch.device) -> Tree | None:
    """The first drafts of a tree in which as many follow each at depths 0, 1, …, of batch 1.

    Returns:
        None if one draft follows each: a chain.
    """
    if max(counts) == 1:
        return None
    parents: list[int] = []
    level, levels = [0], 0
    for count in counts:
        start = len(parents)
        parents += [entry for entry in level for _ in range(count)][: window - start]
        levels += len(parents) > start
        level = list(range(start + 1, len(parents) + 1))
    found = torch.tensor([parents], device=device)
    return grown(found, siblings=max(counts), levels=levels)
