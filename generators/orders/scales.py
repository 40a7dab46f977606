"""Grids of rising sizes, each in one step: next-scale prediction (VAR; Tian et al., 2024).

All tokens of a scale are predicted from the condition and the scales before it. They are drawn
independently of one another; the finer scales that follow attend to them all.
"""

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from intaglio.codecs.layers.transformer import Modulation, modulated
from intaglio.generators.backbone import Backbone
from intaglio.generators.heads.base import Head
from intaglio.generators.inference.kv_cache import KVCache
from intaglio.generators.orders.base import DecodingState, Order, Predictions, Request, Step


class ScaleOrder(Order):
    """Scale by scale, with a `ScaleEmbedding`.

    The condition, one vector, enters at the first scale; if the transformer has a stream it also
    sets the scales, shifts and gates of its blocks. Tokens are marked by learned vectors of their
    scales.

    Args:
        dim: channels of the transformer.
        scales: rows of the square grids, as of the codec's quantizer.
        modulated: whether the condition also scales and shifts the head's input, as in VAR.

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

    def predictions(self, backbone: Backbone, tokens: Tensor, condition: Tensor) -> Predictions:
        """All scales at once, each from the true ones before it; see `Order.predictions`."""
        batch, positions, _ = tokens.shape
        vector = backbone.condition.vector(condition)
        hidden = self.hidden(backbone, tokens[:, : self._begin(positions)], vector)
        order = torch.arange(positions, device=tokens.device).expand(batch, -1)
        return Predictions(hidden.flatten(0, 1), tokens.flatten(0, 1), order.flatten())

    def hidden(
        self,
        backbone: Backbone,
        before: Tensor,
        condition: Tensor,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Hidden vectors of all scales up to the one after those known.

        Args:
            backbone: of the generator.
            before: tokens of the first scales, [batch, positions, groups].
            condition: as one vector, [batch, dim].
            cache: keys and values of some first scales, for which no hidden vectors are given; it
                is not advanced.

        Returns:
            [batch, positions, dim].
        """
        first = condition.unsqueeze(1) + self.start
        x = torch.cat([first, backbone.embedding(before)], dim=1)
        kept = 0 if cache is None else cache.length
        x, stop = x[:, kept:], x.shape[1]
        x = x + self.levels[self.scale_of[kept:stop]]
        positions = torch.arange(kept, stop, device=x.device)
        x = backbone.dropout(backbone.add_positions(x, positions))
        x = backbone(
            x,
            positions,
            mask=self.scale_of[kept:stop].unsqueeze(1) >= self.scale_of[:stop],
            condition=condition if backbone.transformer.streams else None,
            layer_caches=None if cache is None else cache.layer_caches,
        )
        if self.last is None:
            return x
        scale, shift = self.last(condition, (x.shape[1],))
        return modulated(x, scale, shift)

    def start_decoding(self, backbone: Backbone, head: Head, request: Request) -> DecodingState:
        """See `Order.start_decoding`.

        Raises:
            ValueError: there are not as many steps as scales, or tokens end inside a scale.
        """
        positions = request.partial.tokens.shape[1]
        if positions not in self.ends:
            raise ValueError(f"scales end at {list(self.ends)} tokens, not at {positions}")
        if request.steps not in (None, len(self.ends)):
            raise ValueError(f"{len(self.ends)} scales take as many steps, not {request.steps}")
        return _ScaleState(backbone, request, self)

    def _begin(self, end: int) -> int:
        """Where the scale begins that ends there."""
        return (0, *self.ends)[self.ends.index(end)]


class _ScaleState(DecodingState):
    def __init__(self, backbone: Backbone, request: Request, order: ScaleOrder) -> None:
        super().__init__(backbone, request)
        self.order = order
        self.vector = backbone.condition.vector(self.condition)
        max_length = self.partial.tokens.shape[1]
        self.cache = KVCache(backbone.transformer, len(self.condition), max_length)

    def steps(self) -> Iterator[Step]:
        """Every scale; one that all items have given needs no step of its own."""
        given, begin = self.partial.given.all(0), 0
        for number, end in enumerate(self.order.ends):
            if end <= len(given) and not bool(given[begin:end].all()):
                positions = torch.arange(begin, end, device=given.device)
                yield Step(number, len(self.order.ends), positions.unsqueeze(0))
            begin = end

    def hidden(self, step: Step) -> tuple[Tensor, Tensor | None]:
        """Hidden vectors of this scale; scales that are not in the cache yet enter it."""
        count = step.positions.shape[1]
        begin = self.order.ends[step.number] - count
        before = self.partial.tokens[:, :begin]
        if self.guided:
            before = torch.cat([before, before])
        hidden = self.order.hidden(self.backbone, before, self.vector, self.cache)
        self.cache.advance(hidden.shape[1])
        return self._split(hidden[:, -count:])
