"""One token after the other, row by row: what GPT does (LlamaGen; Sun et al., 2024)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from intaglio.generators.inference.counter_rng import Ahead, Draws
from intaglio.generators.inference.cuda_graph import give_back, recorded, take
from intaglio.generators.inference.kv_cache import KVCache
from intaglio.generators.orders.base import DecodingState, Order, Predictions, Request, Step

if TYPE_CHECKING:
    from intaglio.generators.generator import Generator


class RasterOrder(Order):
    """Each token is told from the condition and all tokens before it."""

    takes_prefixes = True

    def predictions(self, generator: "Generator", tokens: Tensor, condition: Tensor) -> Predictions:
        """All positions at once; see `Order.predictions`."""
        batch, positions, _ = tokens.shape
        prefix = generator.condition(condition)
        before = generator.embed(tokens[:, :-1], torch.arange(positions - 1))
        x = generator.dropout(torch.cat([prefix, before], dim=1))
        places = torch.arange(-generator.condition.prefix, positions - 1)
        hidden = generator.hidden_states(x, places, causal=True)[:, -positions:]
        order = torch.arange(positions, device=tokens.device).expand(batch, -1)
        return Predictions(hidden.flatten(0, 1), tokens.flatten(0, 1), order.flatten())

    def session(self, generator: "Generator", request: Request) -> DecodingState:
        """See `Order.session`.

        Raises:
            ValueError: what is given is not the beginning, or there are not as many steps as
                positions.
        """
        given = request.partial.given
        if bool((given[:, 1:] & ~given[:, :-1]).any()):
            raise ValueError(
                "a raster order goes on from a beginning; to fill a gap takes an order that masks"
            )
        if request.steps not in (None, given.shape[1]):
            raise ValueError(f"a raster order takes {given.shape[1]} steps, not {request.steps}")
        return _RasterState(generator, request)


class _RasterState(DecodingState):
    def __init__(self, generator: "Generator", request: Request) -> None:
        super().__init__(generator, request)
        tokens = self.partial.tokens
        self.total = tokens.shape[1]
        self.places = torch.arange(self.total, device=tokens.device)
        self.free = not bool(self.partial.given.any())
        whole = Draws(request.seeds, self.places.unsqueeze(0))
        self.ahead = Ahead(0, whole, {})
        rows, room = len(self.condition), generator.condition.prefix + self.total - 1
        self.recording = take(generator, rows, room) if recorded(tokens.device) else None
        self.cache = (
            KVCache(generator.backbone, rows, room)
            if self.recording is None
            else self.recording.cache
        )

    def steps(self) -> Iterator[Step]:
        """Every position; those that all items have given need no step of their own."""
        first = 0 if self.free else int(self.partial.given.all(0).sum())
        for number in range(first, self.total):
            yield Step(number, self.total, self.places[number : number + 1].unsqueeze(0))
        if self.recording is not None:
            give_back(self.generator, self.recording)

    def hidden(self, step: Step) -> tuple[Tensor, Tensor | None]:
        """What the tokens that are not in the cache yet say of the next one."""
        generator, prefix = self.generator, self.generator.condition.prefix
        known = self.cache.length - prefix  # positions in the cache; below 0 before the prefix is
        start = max(0, known)
        tokens = self.partial.tokens[:, start : step.number]
        if self.guided:
            tokens = torch.cat([tokens, tokens])
        places = self.places[start : step.number]
        count = step.number - known
        if self.recording is not None and known >= 0 and count == 1:
            hidden = self.recording.replay(generator, tokens, places)
        else:
            x = generator.embed(tokens, places)
            if known < 0:
                x = torch.cat([generator.condition(self.condition), x], dim=1)
                places = torch.arange(known, step.number, device=x.device)
            mask = self.cache.attention_mask(count)
            hidden = generator.hidden_states(
                x, places, mask=mask, layer_caches=self.cache.layer_caches
            )
        self.cache.advance(count)
        return self._split(hidden[:, -1:])

    def draws(self, step: Step) -> Draws:
        """See `DecodingState.draws`; those of all steps are worked out at the first."""
        ahead = self.ahead._replace(number=step.number)
        return Draws(self.request.seeds, step.positions, step.round, ahead)

    def commit(self, step: Step, tokens: Tensor, scale: float) -> None:
        """See `DecodingState.commit`."""
        if self.free:
            self.partial.tokens[:, step.number] = tokens[:, 0]
        else:
            super().commit(step, tokens, scale)
