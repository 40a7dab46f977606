"""The tokens of a batch of which each item goes on by windows of its own."""

import torch
from torch import Tensor
from torch.nn import functional as F

from intaglio.generators.generator import Generator
from intaglio.generators.inference.cuda_graph import is_near
from intaglio.generators.orders.base import PartialSequence, Request
from intaglio.generators.orders.permuted import PermutedOrder
from intaglio.generators.orders.permuted_windows import PermutedWindows
from intaglio.generators.orders.raster_windows import RasterWindows
from intaglio.generators.samplers.acceptance.base import Verdict, Window
from intaglio.generators.samplers.acceptance.tree import Tree
from intaglio.generators.samplers.statistics import Ledger

ROUNDS_BLIND = 8  # at most, between two looks at how far items of one length have come


class DraftedBatch:
    """The tokens of a batch, of which the first ones of each item are certain.

    Attributes:
        size: items.
        total: positions of an item, or of the longest.
        lengths: int64 [batch], how many are certain; all of an item that has ended.
        front: the same number, where it is one for all items and known without waiting for a
            device; then positions are the same for all items, too.
        stops: int64 [batch], where items end that may have any length; ``total`` before they do.
        ledger: of what became of the drafts.
        passes: of the generator in the round that is committed next.
    """

    def __init__(self, generator: Generator, request: Request, window: int) -> None:
        backbone, order = generator.backbone, generator.order
        self.backbone, self.given, self.end = backbone, request.partial, request.end
        self.size, self.total = self.given.tokens.shape[:2]
        device = self.given.tokens.device
        self.guided = request.guided
        condition = self._conditions(request.condition)
        self.windows = RasterWindows(backbone, condition, self.total, window)
        self.sequence: Tensor | None = None
        if isinstance(order, PermutedOrder):
            self.sequence = order.sequence(self.given.given, request.seeds)
            both = self._both(self.sequence)
            self.windows = PermutedWindows(backbone, condition, order, both, window)
            tokens = self.given.tokens.take_along_dim(self.sequence.unsqueeze(-1), 1)
            self.given = PartialSequence(tokens, self.given.given.gather(1, self.sequence))
        first = int(self.given.given.all(0).sum())
        self.any_given = bool(self.given.given.any())
        self.near = is_near(device)
        self.front = first if self.near and self.sequence is None else None
        self.first, self.rounds = first, 0
        self.bounds, self.gain = (first, first), 0
        self.index = torch.arange(self.total + window + 1, device=device).unsqueeze(0)
        self.lengths = torch.full((self.size,), first, device=device)
        self.stops = torch.full_like(self.lengths, self.total)
        self.tokens = F.pad(self.given.tokens, (0, 0, 0, window + 1))
        self.ledger, self.passes = Ledger(self.size, device), 1

    def is_complete(self) -> bool:
        """Whether all tokens are certain."""
        if self.front is not None:
            return self.front == self.total
        if self.near:
            return bool((self.lengths == self.total).all())
        is_out_of_reach = self.end is None and self.bounds[0] + self.gain < self.total
        if is_out_of_reach and self.rounds < ROUNDS_BLIND:
            return False
        least, most = torch.stack(self.lengths.aminmax()).tolist()
        self.bounds, self.gain, self.rounds = (least, most), 0, 0
        return least == self.total

    def begin_round(self, window: int) -> None:
        """Reserve what a round takes, where the host does not know how far the items have come."""
        if not self.near:
            self.windows.reserve(min(self.total, self.bounds[1] + self.gain) + window)

    def end_round(self, window: int) -> None:
        """Count a round, whoever has played it."""
        self.ledger.passes += self.passes
        self.gain, self.rounds = self.gain + window + 1, self.rounds + 1

    def ended_lengths(self) -> list[int | None]:
        """Tokens of each item that is complete; None of the others."""
        lengths = torch.where(self.lengths == self.total, self.stops, -1).tolist()
        return [length if length >= 0 else None for length in lengths]

    def mask(self) -> Tensor:
        """Where tokens of the items are certain, bool [batch, positions]."""
        index = torch.arange(self.total, device=self.lengths.device)
        return index < torch.minimum(self.lengths, self.stops).unsqueeze(1)

    def certain(self) -> Tensor:
        """The tokens that are certain, [batch, positions, width]; 0 at the other positions."""
        if self.front is not None and self.end is None:
            found = self.tokens[:, : self.total].clone()
            found[:, self.front :] = 0
            return found
        found = self.tokens[:, : self.total].masked_fill(~self.mask().unsqueeze(-1), 0)
        if self.sequence is None:
            return found
        index = self.sequence.unsqueeze(-1).expand_as(found)
        return torch.zeros_like(found).scatter(1, index, found)

    def places(self, positions: Tensor) -> Tensor:
        """Where in the items positions of their order are."""
        if self.sequence is None:
            return positions
        return self.sequence.gather(1, positions.clamp_max(self.total - 1))

    def restart(self, rows: Tensor, condition: Tensor) -> None:
        """Begin other items in some rows, int64 [count], of which nothing is given."""
        self.given.given.index_fill_(0, rows, False)
        self.lengths.index_fill_(0, rows, 0)
        self.stops.index_fill_(0, rows, self.total)
        self.bounds = 0, self.bounds[1]
        self._find_front()
        both = torch.cat([rows, rows + self.size]) if self.guided else rows
        self.windows.restart(both, self._conditions(condition))

    def next_positions(self, window: int) -> Tensor:
        """Positions behind those that are certain, int64 [batch, window + 1], or batch 1."""
        if self.front is not None:
            return self.index[:, self.front : self.front + window + 1]
        return self.lengths.unsqueeze(1) + torch.arange(window + 1, device=self.lengths.device)

    def positions(self, window: Window) -> Tensor:
        """Positions behind the last certain token and behind each draft, as `next_positions`."""
        if window.tree is None:
            return self.next_positions(window.tokens.shape[1])
        return self.lengths.unsqueeze(1) + window.tree.depths

    def with_given(self, window: Window, positions: Tensor) -> Window:
        """The window, with the tokens that are given in place of drafts."""
        if not self.any_given:
            return window
        is_given, tokens = self._given_at(positions[:, 1:].expand(self.size, -1) - 1)
        return window._replace(tokens=torch.where(is_given.unsqueeze(-1), tokens, window.tokens))

    def hidden(self, window: Window, positions: Tensor) -> tuple[Tensor, Tensor | None]:
        """Hidden vectors of positions, [batch, window + 1, dim]; and without the condition."""
        if self.windows.is_empty:
            hidden = self.windows.begin(self._both(self.given.tokens[:, : self.first]))
        else:
            if self.front is None:
                last = self.tokens.take_along_dim((positions[:, :1, None] - 1).clamp_min(0), 1)
            else:
                last = self.tokens[:, max(0, self.front - 1)].unsqueeze(1)
            tokens = torch.cat([last, window.tokens], dim=1)
            if self.end is not None:  # nothing counts that is drafted behind an end
                tokens = tokens.masked_fill(tokens[..., :1] == self.end, 0)
            ancestors = None
            if window.tree is not None:
                ancestors = self._both(window.tree.ancestors.expand(self.size, -1, -1))
            before = positions - 1
            before = before[0] if self._is_same(window) else self._both(before)
            hidden = self.windows.hidden(self._both(tokens), before, ancestors=ancestors)
        if not self.guided:
            return hidden, None
        conditional, null = hidden.chunk(2)
        return conditional, null

    def commit(
        self, window: Window, verdict: Verdict, positions: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Make the first tokens of each item certain.

        Returns:
            How many, int64 [batch], and `Round.path`.
        """
        if self._is_same(window) and not self.any_given and self.end is None:
            if self.size == 1 or not window.tokens.shape[1]:
                return self._commit_same(verdict), None
        path = None
        if window.tree is not None:
            verdict, path = self._chain(window.tree, verdict, positions)
            positions = self.next_positions(window.tree.levels)
        positions = positions.expand(self.size, -1)
        is_given, given = self._given_at(positions)
        tokens = torch.where(is_given.unsqueeze(-1), given, verdict.tokens)
        inside = positions < self.total
        judged = inside[:, :-1] & ~is_given[:, :-1]
        accepted = (verdict.accepted & judged) | is_given[:, :-1]
        run = accepted.long().cumprod(1)
        kept = torch.minimum(run.sum(1) + 1, self.total - self.lengths)
        # what stands behind the tokens that are certain is overwritten by the next windows
        self.tokens.scatter_(1, positions.unsqueeze(-1).expand_as(tokens), tokens)
        self.lengths += kept
        if self.end is not None:
            kept = self._ended(tokens, kept, is_given)
        excess = None
        if verdict.excess is not None:
            reached = F.pad(run, (1, 0), value=1)[:, :-1].bool() & judged
            excess = verdict.excess.masked_fill(~reached, 0).sum(1)
        drafts, stay = judged.sum(1), (run.bool() & judged).sum(1)
        self.ledger.add(torch.stack([inside[:, 0].long(), kept, drafts, stay]), excess, self.passes)
        self._find_front()
        return kept, path

    def _commit_same(self, verdict: Verdict) -> Tensor:
        """As `commit`, of items that all keep as many tokens, none of which is given."""
        assert self.front is not None
        left = self.total - self.front
        accepted = verdict.accepted[0, :left].tolist()
        stay = accepted.index(False) if False in accepted else len(accepted)
        kept = min(stay + 1, left)
        self.tokens[:, self.front : self.front + kept] = verdict.tokens[:, :kept]
        self.front += kept
        self.lengths += kept
        self.ledger.add_same((1, kept, len(accepted), stay), self.passes)
        if verdict.excess is not None:
            self.ledger.add_excess(verdict.excess[:, :left][:, : stay + 1].sum(1))
        return torch.full_like(self.lengths, kept)

    def _is_same(self, window: Window) -> bool:
        """Whether the window stands at the same positions of all items."""
        return self.front is not None and window.tree is None

    def _find_front(self) -> None:
        if self.near and self.sequence is None:
            lengths = set(self.lengths.tolist())
            self.front = lengths.pop() if len(lengths) == 1 else None

    def _ended(self, tokens: Tensor, kept: Tensor, is_given: Tensor) -> Tensor:
        """End items at the first end among the tokens that were kept; gives how many count."""
        places = torch.arange(tokens.shape[1], device=kept.device)
        ends = (tokens[..., 0] == self.end) & ~is_given & (places < kept.unsqueeze(1))
        ended, place = ends.any(1), ends.long().argmax(1)
        start = self.lengths - kept
        self.stops.copy_(torch.where(ended, start + place, self.stops))
        self.lengths.masked_fill_(ended, self.total)
        return torch.where(ended, place + 1, kept)

    def _chain(self, tree: Tree, verdict: Verdict, positions: Tensor) -> tuple[Verdict, Tensor]:
        """What is kept of a tree as the verdict on a chain, and `Round.path`."""
        # tokens that are given stand in all siblings
        is_given, _ = self._given_at(positions[:, 1:] - 1)
        path, kept = tree.path(torch.where(is_given, tree.is_first(), verdict.accepted))
        self.windows.keep(self._both(positions[:, :1] - 1), self._both(path))
        tokens = verdict.tokens.take_along_dim(path.unsqueeze(-1), 1)
        return Verdict(kept[:, 1:], tokens), path

    def _given_at(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        index = positions.clamp_max(self.total - 1)
        is_given = self.given.given.gather(1, index) & (positions < self.total)
        wide = index.unsqueeze(-1).expand(-1, -1, self.given.tokens.shape[-1])
        return is_given, self.given.tokens.gather(1, wide)

    def _conditions(self, condition: Tensor) -> Tensor:
        """Conditions of all rows of a pass: those of the items and, if guided, dropped ones."""
        if not self.guided:
            return condition
        everyone = torch.ones(len(condition), dtype=torch.bool, device=condition.device)
        return torch.cat([condition, self.backbone.condition.dropped(condition, everyone)])

    def _both(self, x: Tensor) -> Tensor:
        return torch.cat([x, x]) if self.guided else x
