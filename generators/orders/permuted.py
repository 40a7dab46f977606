"""One token after the other, in any order of the positions: each knows which one comes next.

RAR (Yu et al., 2024) begins its training with random orders and ends it row by row, which is how it
draws. With random orders to the end, any tokens may be given and the others drawn.
"""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.generators.backbone import Backbone
from intaglio.generators.heads.base import Head
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.inference.kv_cache import KVCache
from intaglio.generators.orders.base import DecodingState, Order, Predictions, Request, Step


class PermutedOrder(Order):
    """Each token is predicted from the condition, its position, and those before it in an order.

    The backbone has learned vectors of the positions and no rotations: neighbours in the sequence
    are no neighbours in the item.

    Args:
        dim: channels of the transformer.
        positions: tokens of an item.
        draws: ``raster``, row by row, or ``random``, by an order of each item's own. Evaluations
            use the same order.
        until: share of the training up to which all items have random orders.
        gone: share from which on none has; in between they become fewer (RAR: 0.5 and 0.75).

    Raises:
        ValueError: ``until`` and ``gone`` are not shares in this order.
    """

    def __init__(
        self,
        dim: int,
        positions: int,
        *,
        draws: Literal["raster", "random"] = "raster",
        until: float = 1.0,
        gone: float = 1.0,
    ) -> None:
        super().__init__()
        if not 0 <= until <= gone <= 1:
            raise ValueError(f"shares of a training are 0 <= until <= gone <= 1: {until}, {gone}")
        self.draws, self.until, self.gone = draws, until, gone
        self.permuted = 1.0
        self.next = nn.Parameter(0.02 * torch.randn(positions, dim))

    def begin(self, done: float) -> None:
        """Set the share of items with random orders; see `Order.begin`."""
        self.permuted = clamped_ramp(done, self.until, self.gone)

    def predictions(self, backbone: Backbone, tokens: Tensor, condition: Tensor) -> Predictions:
        """All tokens, each item in an order of its own; see `Order.predictions`."""
        batch, positions, _ = tokens.shape
        share = self.permuted if self.training else float(self.draws == "random")
        rank = torch.rand(batch, positions)
        rows = torch.arange(positions).expand_as(rank) / positions
        order = torch.where(torch.rand(batch, 1) < share, rank, rows).argsort(1)
        return self.predictions_given(backbone, tokens, condition, order.to(tokens.device))

    def predictions_given(
        self, backbone: Backbone, tokens: Tensor, condition: Tensor, order: Tensor
    ) -> Predictions:
        """As `predictions`, for given orders of the positions, int64 [batch, positions]."""
        batch, positions, width = tokens.shape
        tokens = tokens.gather(1, order.unsqueeze(-1).expand(-1, -1, width))
        x = self.entries(backbone, tokens[:, :-1], condition, order)
        hidden = backbone(backbone.dropout(x), torch.arange(x.shape[1]), causal=True)[
            :, -positions:
        ]
        return Predictions(hidden.flatten(0, 1), tokens.flatten(0, 1), order.flatten())

    def entries(
        self, backbone: Backbone, tokens: Tensor, condition: Tensor, order: Tensor
    ) -> Tensor:
        """What enters the backbone, [batch, prefix + count, dim].

        Args:
            backbone: of the generator.
            tokens: the first of the order, [batch, count, width].
            condition: of each item.
            order: int64 [batch, more than count].

        Raises:
            ValueError: the backbone rotates by positions, or has no vectors of them.
        """
        if backbone.rotary or backbone.position_embedding is None:
            raise ValueError("permuted orders need learned_positions=True and rotary=None")
        count = tokens.shape[1]
        known = backbone.embed(tokens, order[:, :count])
        x = torch.cat([backbone.condition(condition), known], dim=1)
        aims = F.pad(self.next[order[:, : count + 1]], (0, 0, x.shape[1] - count - 1, 0))
        return x + aims  # the last of the condition aims at the first position

    def sequence(self, given: Tensor, seeds: Tensor) -> Tensor:
        """Positions in the order in which they are drawn, int64 [batch, positions].

        Args:
            given: bool [batch, positions], tokens that are given; they come first.
            seeds: int64 [batch].
        """
        total = given.shape[1]
        positions = torch.arange(total, device=given.device).unsqueeze(0)
        rank = positions.double().expand_as(given) / total
        if self.draws == "random":
            rank = Draws(seeds, positions).uniform(Role.ORDER)[..., 0]
        return rank.masked_fill(given, -1).argsort(dim=1, stable=True)

    def start_decoding(self, backbone: Backbone, head: Head, request: Request) -> DecodingState:
        """See `Order.start_decoding`.

        Raises:
            ValueError: there are not as many steps as positions.
        """
        total = request.partial.given.shape[1]
        if request.steps not in (None, total):
            raise ValueError(f"a permuted order takes {total} steps, not {request.steps}")
        return _PermutedState(backbone, request, self)


def clamped_ramp(x: float, start: float, end: float) -> float:
    """1 up to ``start``, 0 from ``end`` on, linear in between; 1 everywhere if both are 1."""
    if start == end:
        return float(x < end or end == 1)
    return min(1.0, max(0.0, (end - x) / (end - start)))


class _PermutedState(DecodingState):
    def __init__(self, backbone: Backbone, request: Request, order: PermutedOrder) -> None:
        super().__init__(backbone, request)
        self.rule = order
        given = self.partial.given
        self.total = given.shape[1]
        self.order = order.sequence(given, request.seeds)
        max_length = backbone.prefix + self.total - 1
        self.cache = KVCache(backbone.transformer, len(self.condition), max_length)

    def steps(self) -> Iterator[Step]:
        """One position of each item after the other; those that are given need no step."""
        first = int(self.partial.given.sum(1).min())
        for number in range(first, self.total):
            yield Step(number, self.total, self.order[:, number : number + 1])

    def hidden(self, step: Step) -> tuple[Tensor, Tensor | None]:
        """Hidden vectors of the last token of the order so far, which aims at the next position."""
        before = self.order[:, : step.number]
        width = self.partial.tokens.shape[2]
        tokens = self.partial.tokens.gather(1, before.unsqueeze(-1).expand(-1, -1, width))
        order = self.order
        if self.guided:
            tokens, order = torch.cat([tokens, tokens]), torch.cat([order, order])
        x = self.rule.entries(self.backbone, tokens, self.condition, order)
        kept, stop = self.cache.length, x.shape[1]
        mask = torch.ones(stop - kept, stop, dtype=torch.bool, device=x.device).tril(kept)
        hidden = self.backbone(
            x[:, kept:], torch.arange(kept, stop), mask=mask, layer_caches=self.cache.layer_caches
        )
        self.cache.advance(stop - kept)
        return self._split(hidden[:, -1:])
