"""One token after the other, row by row: what GPT does (LlamaGen; Sun et al., 2024)."""

from collections.abc import Iterator

import torch
from torch import Tensor

from intaglio.generators.backbone import Backbone
from intaglio.generators.heads.base import Head
from intaglio.generators.inference.counter_rng import Ahead, Draws
from intaglio.generators.inference.kv_cache import KVCache
from intaglio.generators.orders.base import DecodingState, Predictions, Request, SequenceOrder, Step
from intaglio.generators.orders.flat_pass import FlatPass

CHECK_ON_CUDA = 16  # steps between two looks whether all items have ended, which wait for the GPU


class RasterOrder(SequenceOrder):
    """Each token is predicted from the condition and all tokens before it."""

    takes_prefixes = True

    def predictions(
        self, backbone: Backbone, tokens: Tensor, condition: Tensor, mask: Tensor | None = None
    ) -> Predictions:
        """All positions at once; see `SequenceOrder.predictions`."""
        batch, count, _ = tokens.shape
        prefix = backbone.condition(condition)
        before = tokens[:, :-1]
        if mask is not None:  # tokens that nothing follows are not read
            before = before.masked_fill(~mask[:, 1:].unsqueeze(-1), 0)
        before = backbone.embed(before, torch.arange(count - 1))
        x = backbone.dropout(torch.cat([prefix, before], dim=1))
        positions = torch.arange(-backbone.prefix, count - 1)
        hidden = backbone(x, positions, causal=True)[:, -count:]
        order = torch.arange(count, device=tokens.device).expand(batch, -1)
        if mask is not None:
            return Predictions(hidden[mask], tokens[mask], order[mask], mask)
        return Predictions(hidden.flatten(0, 1), tokens.flatten(0, 1), order.flatten())

    def start_decoding(self, backbone: Backbone, head: Head, request: Request) -> DecodingState:
        """See `Order.start_decoding`.

        Raises:
            ValueError: what is given is not the beginning, or there are not as many steps as
                positions.
        """
        given = request.partial.given
        check_beginning(given)
        if request.steps not in (None, given.shape[1]):
            raise ValueError(f"a raster order takes {given.shape[1]} steps, not {request.steps}")
        return _RasterState(backbone, request)


def check_beginning(given: Tensor) -> None:
    """Check that the tokens that are given, bool [batch, positions], come first.

    Raises:
        ValueError: they do not.
    """
    if bool((given[:, 1:] & ~given[:, :-1]).any()):
        raise ValueError(
            "a raster order goes on from a beginning; to fill a gap takes an order that masks"
        )


class _RasterState(DecodingState):
    def __init__(self, backbone: Backbone, request: Request) -> None:
        super().__init__(backbone, request)
        tokens = self.partial.tokens
        self.total = tokens.shape[1]
        self.positions = torch.arange(self.total, device=tokens.device)
        self.any_given = bool(self.partial.given.any())
        self.end = request.end
        if self.end is not None:
            self.mask = self.partial.given.clone()
            self.ended = torch.zeros(self.batch, dtype=torch.bool, device=tokens.device)
        self.ahead = Ahead(0, Draws(request.seeds, self.positions.unsqueeze(0)), {})
        rows, max_length = len(self.condition), backbone.prefix + self.total - 1
        recorder = request.recorder
        self.recorded = None if recorder is None else recorder.take(backbone, rows, max_length)
        self.cache = (
            KVCache(backbone.transformer, rows, max_length)
            if self.recorded is None
            else self.recorded.cache
        )
        self.flat = FlatPass(backbone, self.cache)

    def steps(self) -> Iterator[Step]:
        """Every position up to the end of the longest item; none that all items have given."""
        first = int(self.partial.given.all(0).sum()) if self.any_given else 0
        interval = CHECK_ON_CUDA if self.positions.is_cuda else 1
        for number in range(first, self.total):
            if self.end is not None and number % interval == 0 and bool(self.ended.all()):
                return
            yield Step(number, self.total, self.positions[number : number + 1].unsqueeze(0))

    def hidden(self, step: Step) -> tuple[Tensor, Tensor | None]:
        """Hidden vectors of the last token so far; tokens that are not in the cache enter it."""
        backbone = self.backbone
        known = self.cache.length - backbone.prefix  # positions in the cache; below 0 before any
        start = max(0, known)
        tokens = self.partial.tokens[:, start : step.number]
        if self.guided:
            tokens = torch.cat([tokens, tokens])
        positions = self.positions[start : step.number]
        count = step.number - known
        if self.recorded is not None and known >= 0 and count == 1:
            hidden = self.recorded.replay(tokens, positions)
        else:
            x = backbone.embed(tokens, positions)
            if known < 0:
                x = torch.cat([backbone.condition(self.condition), x], dim=1)
                positions = torch.arange(known, step.number, device=x.device)
            mask = self.cache.attention_mask(count)
            hidden = self.flat(x, positions, mask)
        self.cache.advance(count)
        return self._split(hidden[:, -1:])

    def draws(self, step: Step) -> Draws:
        """See `DecodingState.draws`; those of all steps are computed at the first."""
        ahead = self.ahead._replace(number=step.number)
        return Draws(self.request.seeds, step.positions, step.round, ahead)

    def commit(self, step: Step, tokens: Tensor, scale: float) -> None:
        """See `DecodingState.commit`. An item that ends has zeros from its end on."""
        if self.end is not None and self.mask is not None:
            drawn = ~self.partial.given[:, step.number]
            self.ended |= drawn & (tokens[:, 0, 0] == self.end)
            self.mask[:, step.number] = ~self.ended
            tokens = tokens.masked_fill(self.ended[:, None, None], 0)
        if self.any_given:
            super().commit(step, tokens, scale)
        else:
            self.partial.tokens[:, step.number] = tokens[:, 0]

    def close(self) -> None:
        """Give the recorded step back to its sampler."""
        if self.recorded is not None and self.request.recorder is not None:
            self.request.recorder.give_back(self.recorded)
            self.recorded = None
