"""Grids of rising sizes, each in one step: next-scale prediction (VAR; Tian et al., 2024).

All tokens of a scale are told from the condition and the scales before it. They are drawn without
regard to one another; the finer scales that follow see them all.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from intaglio.codecs.layers.transformer import Modulation, modulated
from intaglio.generators.inference.kv_cache import KVCache
from intaglio.generators.orders.base import DecodingState, Order, Predictions, Request, Step

if TYPE_CHECKING:
    from intaglio.generators.generator import Generator


class ScaleOrder(Order):
    """Scale by scale, with a `ScaleEmbedding`.

    The condition, one vector, enters at the first scale; if the backbone has a stream it also sets
    the scales, shifts and gates of its blocks. Tokens are marked by learned vectors of their
    scales.

    Args:
        dim: channels of the backbone.
        scales: rows of the square grids, as of the codec's quantizer.
        modulated: whether the condition also scales and shifts what the head is given, as in VAR.

    Attributes:
        ends: positions up to the end of each scale.

    Raises:
        ValueError: no scale, or one without a row.
    """

    takes_prefixes = True
    scale_of: Tensor

    def __init__(self, dim: int, scales: Sequence[int], *, modulated: bool = False) -> None:
        super().__init__()
        if not scales or min(scales) < 1:
            raise ValueError(f"an order needs scales of at least 1 row, got {list(scales)}")
        sizes = [side * side for side in scales]
        self.ends = tuple(itertools.accumulate(sizes))
        self.start = nn.Parameter(0.02 * torch.randn(sizes[0], dim))
        self.levels = nn.Parameter(0.02 * torch.randn(len(sizes), dim))
        self.last = Modulation(dim, 2, 1) if modulated else None
        numbers = torch.tensor([n for n, size in enumerate(sizes) for _ in range(size)])
        self.register_buffer("scale_of", numbers, persistent=False)

    def predictions(self, generator: "Generator", tokens: Tensor, condition: Tensor) -> Predictions:
        """All scales at once, each told from the true ones before it; see `Order.predictions`."""
        batch, positions, _ = tokens.shape
        told = generator.condition.vector(condition)
        hidden = self.hidden(generator, tokens[:, : self._begin(positions)], told)
        order = torch.arange(positions, device=tokens.device).expand(batch, -1)
        return Predictions(hidden.flatten(0, 1), tokens.flatten(0, 1), order.flatten())

    def hidden(
        self,
        generator: "Generator",
        before: Tensor,
        told: Tensor,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Hidden vectors of all scales up to the one after those known.

        Args:
            generator: whose order this is.
            before: tokens of the first scales, [batch, positions, groups].
            told: the condition, [batch, dim].
            cache: keys and values of some first scales, for which no hidden vectors are given; it
                is not advanced.

        Returns:
            [batch, positions, dim].
        """
        first = told.unsqueeze(1) + self.start
        x = torch.cat([first, generator.embedding(before)], dim=1)
        kept = 0 if cache is None else cache.length
        x, stop = x[:, kept:], x.shape[1]
        x = x + self.levels[self.scale_of[kept:stop]]
        places = torch.arange(kept, stop, device=x.device)
        x = generator.dropout(generator.add_positions(x, places))
        sees = self.scale_of[kept:stop].unsqueeze(1) >= self.scale_of[:stop]
        condition = told if generator.backbone.streams else None
        layer_caches = None if cache is None else cache.layer_caches
        x = generator.hidden_states(
            x, places, mask=sees, condition=condition, layer_caches=layer_caches
        )
        if self.last is None:
            return x
        scale, shift = self.last(told, (x.shape[1],))
        return modulated(x, scale, shift)

    def session(self, generator: "Generator", request: Request) -> DecodingState:
        """See `Order.session`.

        Raises:
            ValueError: there are not as many steps as scales, or tokens end inside a scale.
        """
        positions = request.partial.tokens.shape[1]
        if positions not in self.ends:
            raise ValueError(f"scales end at {list(self.ends)} tokens, not at {positions}")
        if request.steps not in (None, len(self.ends)):
            raise ValueError(f"{len(self.ends)} scales take as many steps, not {request.steps}")
        return _ScaleState(generator, request, self)

    def _begin(self, end: int) -> int:
        """Where the scale begins that ends there."""
        return (0, *self.ends)[self.ends.index(end)]


class _ScaleState(DecodingState):
    def __init__(self, generator: "Generator", request: Request, order: ScaleOrder) -> None:
        super().__init__(generator, request)
        self.order = order
        self.told = generator.condition.vector(self.condition)
        room = self.partial.tokens.shape[1]
        self.cache = KVCache(generator.backbone, len(self.condition), room)

    def steps(self) -> Iterator[Step]:
        """Every scale; one that all items have given needs no step of its own."""
        given, begin = self.partial.given.all(0), 0
        for number, end in enumerate(self.order.ends):
            if end <= len(given) and not bool(given[begin:end].all()):
                places = torch.arange(begin, end, device=given.device)
                yield Step(number, len(self.order.ends), places.unsqueeze(0))
            begin = end

    def hidden(self, step: Step) -> tuple[Tensor, Tensor | None]:
        """What the scales that are not in the cache yet, and this one, say of it."""
        count = step.positions.shape[1]
        begin = self.order.ends[step.number] - count
        before = self.partial.tokens[:, :begin]
        if self.guided:
            before = torch.cat([before, before])
        hidden = self.order.hidden(self.generator, before, self.told, self.cache)
        self.cache.advance(hidden.shape[1])
        return self._split(hidden[:, -count:])
