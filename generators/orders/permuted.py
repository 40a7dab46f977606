"""One token after the other in any order of the places: each knows which place comes next.

RAR (Yu et al., 2024) begins its training with random orders and ends it row by row, which is how it
draws. With random orders to the end, any tokens may be given and the others drawn.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.inference.kv_cache import KVCache
from intaglio.generators.orders.base import DecodingState, Order, Predictions, Request, Step

if TYPE_CHECKING:
    from intaglio.generators.generator import Generator


class PermutedOrder(Order):
    """Each token is told from the condition, the tokens before it in an order, and its own place.

    The generator has learned vectors of the places, and no rotations: what stands next to one
    another in the sequence has nothing to do with the places.

    Args:
        dim: channels of the backbone.
        positions: tokens of an item.
        draws: ``raster``, row by row, or ``random``, by an order of each item's own. So an item is
            also told in evaluation.
        until: share of the training up to which all items have random orders.
        gone: share from which on none has; in between fewer and fewer (RAR: 0.5 and 0.75).

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
        span = self.gone - self.until
        left = (self.gone - done) / span if span else float(done < self.gone or self.gone == 1)
        self.permuted = min(1.0, max(0.0, left))

    def predictions(self, generator: "Generator", tokens: Tensor, condition: Tensor) -> Predictions:
        """All tokens, each item in an order of its own; see `Order.predictions`."""
        batch, positions, _ = tokens.shape
        share = self.permuted if self.training else float(self.draws == "random")
        rank = torch.rand(batch, positions)
        rows = torch.arange(positions).expand_as(rank) / positions
        order = torch.where(torch.rand(batch, 1) < share, rank, rows).argsort(1)
        return self.told(generator, tokens, condition, order.to(tokens.device))

    def told(
        self, generator: "Generator", tokens: Tensor, condition: Tensor, order: Tensor
    ) -> Predictions:
        """As `predictions`, with given orders, int64 [batch, positions]: the places one by one."""
        batch, positions, width = tokens.shape
        tokens = tokens.gather(1, order.unsqueeze(-1).expand(-1, -1, width))
        x = self.entries(generator, tokens[:, :-1], condition, order)
        hidden = generator.hidden_states(
            generator.dropout(x), torch.arange(x.shape[1]), causal=True
        )[:, -positions:]
        return Predictions(hidden.flatten(0, 1), tokens.flatten(0, 1), order.flatten())

    def entries(
        self, generator: "Generator", tokens: Tensor, condition: Tensor, order: Tensor
    ) -> Tensor:
        """What enters the backbone, [batch, prefix + count, dim].

        Args:
            generator: whose order this is.
            tokens: the first of the order, [batch, count, width].
            condition: of each item.
            order: int64 [batch, more than count].

        Raises:
            ValueError: the generator turns by places, or has no vectors of them.
        """
        if generator.rotary or generator.places is None:
            raise ValueError("permuted orders need learned=True and rotary=False")
        count = tokens.shape[1]
        known = generator.embed(tokens, order[:, :count])
        x = torch.cat([generator.condition(condition), known], dim=1)
        aims = F.pad(self.next[order[:, : count + 1]], (0, 0, x.shape[1] - count - 1, 0))
        return x + aims  # the last of the condition aims at the first place

    def session(self, generator: "Generator", request: Request) -> DecodingState:
        """See `Order.session`.

        Raises:
            ValueError: there are not as many steps as positions.
        """
        total = request.partial.given.shape[1]
        if request.steps not in (None, total):
            raise ValueError(f"a permuted order takes {total} steps, not {request.steps}")
        return _PermutedState(generator, request, self)


class _PermutedState(DecodingState):
    def __init__(self, generator: "Generator", request: Request, order: PermutedOrder) -> None:
        super().__init__(generator, request)
        self.rule = order
        given = self.partial.given
        self.total = given.shape[1]
        places = torch.arange(self.total, device=given.device).unsqueeze(0)
        rank = places.double().expand_as(given) / self.total
        if order.draws == "random":
            rank = Draws(request.seeds, places).uniform(Role.ORDER)[..., 0]
        # what is given comes first
        self.order = rank.masked_fill(given, -1).argsort(dim=1, stable=True)
        room = generator.condition.prefix + self.total - 1
        self.cache = KVCache(generator.backbone, len(self.condition), room)

    def steps(self) -> Iterator[Step]:
        """One place of each item after the other; those that all have given need no step."""
        first = int(self.partial.given.sum(1).min())
        for number in range(first, self.total):
            yield Step(number, self.total, self.order[:, number : number + 1])

    def hidden(self, step: Step) -> tuple[Tensor, Tensor | None]:
        """What the tokens before it in the order say of the next one."""
        before = self.order[:, : step.number]
        width = self.partial.tokens.shape[2]
        tokens = self.partial.tokens.gather(1, before.unsqueeze(-1).expand(-1, -1, width))
        order = self.order
        if self.guided:
            tokens, order = torch.cat([tokens, tokens]), torch.cat([order, order])
        x = self.rule.entries(self.generator, tokens, self.condition, order)
        kept, stop = self.cache.length, x.shape[1]
        sees = torch.ones(stop - kept, stop, dtype=torch.bool, device=x.device).tril(kept)
        hidden = self.generator.hidden_states(
            x[:, kept:], torch.arange(kept, stop), mask=sees, layer_caches=self.cache.layer_caches
        )
        self.cache.advance(stop - kept)
        return self._split(hidden[:, -1:])
