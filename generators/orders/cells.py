"""Groups of continuous tokens, each by a flow given those before it (xAR; Ren et al., 2025).

The transformer itself is the denoiser. In training every group has a time of its own and sees the
groups before it as noisy as they are, not clean, so that a generator learns to continue
from what it has drawn with errors. While drawing, the groups before are clean and their keys and
values are cached.

As in the release, times are rounded down to thousandths before they are embedded.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from intaglio.codecs.layers.flow import logit_normal, on_path
from intaglio.codecs.layers.positions import sine_time
from intaglio.codecs.layers.solver import Solver, moved, times
from intaglio.generators.backbone import Backbone
from intaglio.generators.heads.base import Head
from intaglio.generators.heads.continuous import tempered
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.inference.kv_cache import KVCache
from intaglio.generators.orders.base import DecodingState, Order, Predictions, Request, Step

Entity = Literal["token", "cell", "subsample", "scale", "image"]
WAVES = 256  # cosines and sines of a time
MAX_PERIOD = 10_000.0


def partition(shape: Sequence[int], entity: Entity, size: int) -> list[list[int]]:
    """Positions of each group, in the order of drawing.

    Args:
        shape: of the tokens of an item.
        entity: ``token``, one by one; ``cell``, blocks of neighbours; ``subsample``, each group
            strided over the whole item; ``scale``, from a coarse stride to ever finer ones, each
            group the positions that its stride adds; ``image``, all at once.
        size: of a cell along each axis; stride of a subsample; stride of the coarsest scale, which
            the finer ones halve. Not used by ``token`` and ``image``.

    Raises:
        ValueError: an unknown entity, or a size that does not divide the shape.
    """
    if entity not in get_args(Entity):
        raise ValueError(f"entities are {', '.join(get_args(Entity))}, not {entity!r}")
    total = math.prod(shape)
    if entity == "token":
        return [[position] for position in range(total)]
    if entity == "image":
        return [list(range(total))]
    if size < 1 or any(side % size for side in shape) or (entity == "scale" and size & size - 1):
        needed = "a power of 2 that divides" if entity == "scale" else "divides"
        raise ValueError(f"the size of a {entity} {needed} {tuple(shape)}, got {size}")
    groups: dict[tuple[int, ...], list[int]] = {}
    for position in range(total):
        groups.setdefault(_key(position, shape, entity, size), []).append(position)
    return [groups[key] for key in sorted(groups)]


def _key(position: int, shape: Sequence[int], entity: Entity, size: int) -> tuple[int, ...]:
    """What positions of the same group share; in the order of drawing."""
    coordinates = []
    for side in reversed(shape):
        position, rest = divmod(position, side)
        coordinates.append(rest)
    if entity == "cell":
        return tuple(number // size for number in reversed(coordinates))
    if entity == "subsample":
        return tuple(number % size for number in reversed(coordinates))
    stride = math.gcd(size, *coordinates)
    return (size // stride,)


class CellOrder(Order):
    """Group by group, with a `FieldHead`.

    The condition, one vector, and the time of each group set the scales, shifts and gates of the
    transformer, which needs one stream.

    Args:
        dim: channels of the transformer.
        shape: of the tokens of an item.
        entity: see `partition`.
        size: see `partition`.
        solver: see `intaglio.codecs.layers.solver`.
        steps: of the solver for each group, unless the sampler says otherwise.

    Attributes:
        sizes: tokens of each group.
        ends: tokens before the first group, the second…, and after the last.
        sequence: int64 [positions], the positions group by group.

    Raises:
        ValueError: no such groups, solver or steps.
    """

    sequence: Tensor
    group_of: Tensor

    def __init__(
        self,
        dim: int,
        shape: Sequence[int],
        *,
        entity: Entity = "cell",
        size: int = 8,
        solver: Solver = "sde",
        steps: int = 50,
    ) -> None:
        super().__init__()
        times(solver, steps)
        groups = partition(shape, entity, size)
        self.solver, self.steps = solver, steps
        self.sizes = tuple(len(group) for group in groups)
        self.ends = tuple(accumulate(self.sizes, initial=0))
        numbers = [number for number, group in enumerate(groups) for _ in group]
        self.register_buffer("sequence", torch.tensor(sum(groups, [])), persistent=False)
        self.register_buffer("group_of", torch.tensor(numbers), persistent=False)
        first, second = nn.Linear(WAVES, dim), nn.Linear(dim, dim)
        for linear in (first, second):
            nn.init.normal_(linear.weight, std=0.02)
        self.time = nn.Sequential(first, nn.SiLU(), second)

    def predictions(self, backbone: Backbone, tokens: Tensor, condition: Tensor) -> Predictions:
        """All groups of a batch, each at a time of its own; see `Order.predictions`."""
        shape = len(tokens), len(self.sizes)
        time = logit_normal(math.prod(shape), tokens.device).view(shape)
        noise = torch.randn_like(tokens)
        return self.predictions_given(backbone, tokens, condition, time, noise)

    def predictions_given(
        self,
        backbone: Backbone,
        tokens: Tensor,
        condition: Tensor,
        time: Tensor,
        noise: Tensor,
    ) -> Predictions:
        """As `predictions`, for given times, [batch, groups], and noise."""
        data, noise = tokens[:, self.sequence], noise[:, self.sequence]
        times = time[:, self.group_of].flatten().to(data.dtype)
        x = on_path(data.flatten(0, 1), noise.flatten(0, 1), times).view_as(data)
        hidden = self.denoise(backbone, x, backbone.condition.vector(condition), time)
        positions = self.sequence.expand(len(tokens), -1)
        return Predictions(hidden.flatten(0, 1), (noise - data).flatten(0, 1), positions.flatten())

    def denoise(
        self,
        backbone: Backbone,
        x: Tensor,
        condition: Tensor,
        time: Tensor,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Hidden vectors of some groups, [batch, tokens, dim].

        Args:
            backbone: of the generator.
            x: their noisy tokens, [batch, tokens, width], group by group.
            condition: as one vector, [batch, dim].
            time: of each group, [batch, groups].
            cache: keys and values of the groups before them; it is not advanced.
        """
        kept = 0 if cache is None else cache.length
        stop = kept + x.shape[1]
        sizes = self.sizes[self.ends.index(kept) : self.ends.index(stop)]
        x = backbone.dropout(backbone.embed(x, self.sequence[kept:stop]))
        mask = None  # a single group attends to all that there is
        if len(sizes) > 1:
            mask = self.group_of[kept:stop].unsqueeze(1) >= self.group_of[:stop]
        rounded = (1000 * time).floor() / 1000
        waves = sine_time(rounded.flatten(), WAVES, max_period=MAX_PERIOD).to(condition.dtype)
        condition = condition.unsqueeze(1) + self.time(waves).unflatten(0, time.shape)
        return backbone(
            x,
            self.sequence[kept:stop],
            mask=mask,
            condition=condition,
            sizes=sizes,
            layer_caches=None if cache is None else cache.layer_caches,
        )

    def start_decoding(self, backbone: Backbone, head: Head, request: Request) -> DecodingState:
        """See `Order.start_decoding`. Steps are those of the solver for each group."""
        return _CellState(backbone, request, self)


class _CellState(DecodingState):
    def __init__(self, backbone: Backbone, request: Request, order: CellOrder) -> None:
        super().__init__(backbone, request)
        self.order = order
        steps = order.steps if request.steps is None else request.steps
        self.spans = list(pairwise(times(order.solver, steps)))
        self.vector = backbone.condition.vector(self.condition)
        self.cache = KVCache(backbone.transformer, len(self.condition), len(order.sequence))
        self.x = self.noise = self.partial.tokens[:, :0]

    def steps(self) -> Iterator[Step]:
        """Those of every group; one that all items have given needs none."""
        for number, positions in enumerate(self.order.sequence.split(self.order.sizes)):
            if bool(self.partial.given[:, positions].all()):
                continue
            self.x = self.noise = self._noise(positions.unsqueeze(0), 0)
            for round in range(len(self.spans)):
                yield Step(number, len(self.order.sizes), positions.unsqueeze(0), round=round)

    def hidden(self, step: Step) -> tuple[Tensor, Tensor | None]:
        """Hidden vectors of the noisy group, given the clean ones before it.

        Given tokens of the group have the noise of its time, like the others.
        """
        positions = step.positions[0]
        self._keep(self.order.ends[step.number])
        start, _ = self.spans[step.round]
        true = (1 - start) * self.partial.tokens[:, positions] + start * self.noise
        given = self.partial.given[:, positions].unsqueeze(-1)
        self.x = torch.where(given, true, self.x)
        return self._split(self._denoise(self.x, start))

    def commit(self, step: Step, tokens: Tensor, scale: float) -> None:
        """Go one step along the velocity."""
        start, end = self.spans[step.round]
        fresh = None
        if self.order.solver == "sde" and end:
            fresh = self._noise(step.positions, step.round + 1)
        self.x = moved(self.x, tokens.to(self.x.dtype), start, end, fresh)
        super().commit(step, self.x, scale)

    def _keep(self, stop: int) -> None:
        """Put the clean groups up to the end of one into the cache, if they are not there."""
        if stop > self.cache.length:
            positions = self.order.sequence[self.cache.length : stop]
            self._denoise(self.partial.tokens[:, positions], 0.0)
            self.cache.advance(len(positions))

    def _denoise(self, x: Tensor, time: float) -> Tensor:
        """Hidden vectors of groups that follow those of the cache, all at one time."""
        if self.guided:
            x = torch.cat([x, x])
        first, last = (self.order.ends.index(self.cache.length + n) for n in (0, x.shape[1]))
        times = x.new_full((len(x), last - first), time)
        return self.order.denoise(self.backbone, x, self.vector, times, self.cache)

    def _noise(self, positions: Tensor, round: int) -> Tensor:
        """Noise of a group; that of round 0 is where its path begins."""
        draws = Draws(self.request.seeds, positions, round)
        noise = draws.normal(Role.NOISE, self.partial.tokens.shape[-1])
        return tempered(noise, self.request.warp).to(self.partial.tokens.dtype)
