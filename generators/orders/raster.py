"""One token after the other, row by row: what GPT does (LlamaGen; Sun et al., 2024)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from intaglio.generators.cache import KVCache
from intaglio.generators.orders.base import Lesson, Order, Request, Session, Step

if TYPE_CHECKING:
    from intaglio.generators.generator import Generator


class RasterOrder(Order):
    """Each token is told from the condition and all tokens before it."""

    takes_prefixes = True

    def lesson(self, generator: "Generator", tokens: Tensor, condition: Tensor) -> Lesson:
        """All positions at once; see `Order.lesson`."""
        batch, positions, _ = tokens.shape
        prefix = generator.condition(condition)
        before = generator.vectors(tokens[:, :-1], torch.arange(positions - 1))
        x = generator.dropout(torch.cat([prefix, before], dim=1))
        places = torch.arange(-generator.condition.prefix, positions - 1)
        hidden = generator.through(x, places, causal=True)[:, -positions:]
        order = torch.arange(positions, device=tokens.device).expand(batch, -1)
        return Lesson(hidden.flatten(0, 1), tokens.flatten(0, 1), order.flatten())

    def session(self, generator: "Generator", request: Request) -> Session:
        """See `Order.session`.

        Raises:
            ValueError: what is given is not the beginning, or there are not as many steps as
                positions.
        """
        given = request.canvas.given
        if bool((given[:, 1:] & ~given[:, :-1]).any()):
            raise ValueError(
                "a raster order goes on from a beginning; to fill a gap takes an order that masks"
            )
        if request.steps not in (None, given.shape[1]):
            raise ValueError(f"a raster order takes {given.shape[1]} steps, not {request.steps}")
        return _RasterSession(generator, request)


class _RasterSession(Session):
    def __init__(self, generator: "Generator", request: Request) -> None:
        super().__init__(generator, request)
        self.total = request.canvas.tokens.shape[1]
        room = generator.condition.prefix + self.total - 1
        self.cache = KVCache(generator.backbone, len(self.condition), room)

    def steps(self) -> Iterator[Step]:
        """Every position; those that all items have given need no step of their own."""
        first = int(self.canvas.given.all(0).sum())
        for number in range(first, self.total):
            position = torch.tensor([[number]], device=self.canvas.tokens.device)
            yield Step(number, self.total, position)

    def hidden(self, step: Step) -> tuple[Tensor, Tensor | None]:
        """What the tokens that are not in the cache yet say of the next one."""
        generator, prefix = self.generator, self.generator.condition.prefix
        known = self.cache.length - prefix  # positions in the cache; below 0 before the prefix is
        start = max(0, known)
        tokens = self.canvas.tokens[:, start : step.number]
        if self.guided:
            tokens = torch.cat([tokens, tokens])
        x = generator.vectors(tokens, torch.arange(start, step.number))
        if known < 0:
            x = torch.cat([generator.condition(self.condition), x], dim=1)
        places = torch.arange(min(known, start), step.number)
        count = len(places)
        mask = torch.ones(count, self.cache.length + count, dtype=torch.bool, device=x.device)
        hidden = generator.through(
            x, places, mask=mask.tril(self.cache.length), stores=self.cache.stores
        )
        self.cache.advance(count)
        return self._split(hidden[:, -1:])
