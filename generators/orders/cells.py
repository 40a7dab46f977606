"""Groups of continuous tokens, each by a flow, told those before it (xAR; Ren et al., 2025).

The backbone itself is the denoiser. In training every group has a time of its own and sees the
groups before it as noisy as they are, not clean, so that a generator learns to go on from what it
has drawn with errors. While drawing, the groups before are clean and their keys and values kept.

As in the release, times are rounded down to thousandths before the network sees them.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor, nn

from intaglio.codecs.layers.flow import logit_normal, on_path
from intaglio.codecs.layers.positions import sine_time
from intaglio.codecs.layers.solver import Solver, moved, times
from intaglio.generators.heads.continuous import tempered
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.inference.kv_cache import KVCache
from intaglio.generators.orders.base import DecodingState, Order, Predictions, Request, Step

if TYPE_CHECKING:
    from intaglio.generators.generator import Generator

Entity = Literal["token", "cell", "subsample", "scale", "image"]
WAVES = 256  # cosines and sines of a time
MAX_PERIOD = 10_000.0


def partition(shape: Sequence[int], entity: Entity, size: int) -> list[list[int]]:
    """Positions of each group, in the order of drawing.

    Args:
        shape: of the tokens of an item.
        entity: ``token``, one by one; ``cell``, blocks of neighbours; ``subsample``, each group
            strided over the whole item; ``scale``, from a coarse stride to ever finer ones, each
            group the places that its stride adds; ``image``, all at once.
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
    place = []
    for side in reversed(shape):
        position, rest = divmod(position, side)
        place.append(rest)
    if entity == "cell":
        return tuple(one // size for one in reversed(place))
    if entity == "subsample":
        return tuple(one % size for one in reversed(place))
    stride = math.gcd(size, *place)
    return (size // stride,)


class CellOrder(Order):
    """Group by group, with a `FieldHead`.

    The condition, one vector, and the time of each group set the scales, shifts and gates of the
    backbone, which needs one stream.

    Args:
        dim: channels of the backbone.
        shape: of the tokens of an item.
        entity: see `partition`.
        size: see `partition`.
        solver: see `intaglio.codecs.layers.solver`.
        steps: of the solver for each group, unless the sampler says otherwise.

    Attributes:
        sizes: tokens of each group.
        ends: tokens before the first group, the second…, and after the last.
        places: int64 [positions], the positions group by group.

    Raises:
        ValueError: no such groups, solver or steps.
    """

    places: Tensor
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
        self.register_buffer("places", torch.tensor(sum(groups, [])), persistent=False)
        self.register_buffer("group_of", torch.tensor(numbers), persistent=False)
        first, second = nn.Linear(WAVES, dim), nn.Linear(dim, dim)
        for linear in (first, second):
            nn.init.normal_(linear.weight, std=0.02)
        self.time = nn.Sequential(first, nn.SiLU(), second)

    def predictions(self, generator: "Generator", tokens: Tensor, condition: Tensor) -> Predictions:
        """All groups of a batch, each at a time of its own; see `Order.predictions`."""
        shape = len(tokens), len(self.sizes)
        time = logit_normal(math.prod(shape), tokens.device).view(shape)
        return self.told(generator, tokens, condition, time, torch.randn_like(tokens))

    def told(
        self,
        generator: "Generator",
        tokens: Tensor,
        condition: Tensor,
        time: Tensor,
        noise: Tensor,
    ) -> Predictions:
        """As `predictions`, at given times, [batch, groups], with given noise."""
        data, noise = tokens[:, self.places], noise[:, self.places]
        each = time[:, self.group_of].flatten().to(data.dtype)
        x = on_path(data.flatten(0, 1), noise.flatten(0, 1), each).view_as(data)
        hidden = self.hidden(generator, x, generator.condition.vector(condition), time)
        positions = self.places.expand(len(tokens), -1)
        return Predictions(hidden.flatten(0, 1), (noise - data).flatten(0, 1), positions.flatten())

    def hidden(
        self,
        generator: "Generator",
        x: Tensor,
        told: Tensor,
        time: Tensor,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Hidden vectors of some groups, [batch, tokens, dim].

        Args:
            generator: whose order this is.
            x: their noisy tokens, [batch, tokens, width], group by group.
            told: the condition, [batch, dim].
            time: of each group, [batch, groups].
            cache: keys and values of the groups before them; it is not advanced.
        """
        kept = 0 if cache is None else cache.length
        stop = kept + x.shape[1]
        sizes = self.sizes[self.ends.index(kept) : self.ends.index(stop)]
        x = generator.dropout(generator.embed(x, self.places[kept:stop]))
        sees = None  # a single group sees all that there is
        if len(sizes) > 1:
            sees = self.group_of[kept:stop].unsqueeze(1) >= self.group_of[:stop]
        rounded = (1000 * time).floor() / 1000
        waves = sine_time(rounded.flatten(), WAVES, max_period=MAX_PERIOD).to(told.dtype)
        condition = told.unsqueeze(1) + self.time(waves).unflatten(0, time.shape)
        return generator.hidden_states(
            x,
            self.places[kept:stop],
            mask=sees,
            condition=condition,
            sizes=sizes,
            layer_caches=None if cache is None else cache.layer_caches,
        )

    def session(self, generator: "Generator", request: Request) -> DecodingState:
        """See `Order.session`. Steps are those of the solver for each group."""
        return _CellState(generator, request, self)


class _CellState(DecodingState):
    def __init__(self, generator: "Generator", request: Request, order: CellOrder) -> None:
        super().__init__(generator, request)
        self.order = order
        steps = order.steps if request.steps is None else request.steps
        self.spans = list(pairwise(times(order.solver, steps)))
        self.told = generator.condition.vector(self.condition)
        self.cache = KVCache(generator.backbone, len(self.condition), len(order.places))
        self.x = self.noise = self.partial.tokens[:, :0]

    def steps(self) -> Iterator[Step]:
        """Those of every group; one that all items have given needs none."""
        for number, places in enumerate(self.order.places.split(self.order.sizes)):
            if bool(self.partial.given[:, places].all()):
                continue
            self.x = self.noise = self._noise(places.unsqueeze(0), 0)
            for round in range(len(self.spans)):
                yield Step(number, len(self.order.sizes), places.unsqueeze(0), round=round)

    def hidden(self, step: Step) -> tuple[Tensor, Tensor | None]:
        """What the noisy group says, told the clean ones before it.

        What is given of the group has the noise of its time, like the rest.
        """
        places = step.positions[0]
        self._keep(self.order.ends[step.number])
        start, _ = self.spans[step.round]
        true = (1 - start) * self.partial.tokens[:, places] + start * self.noise
        given = self.partial.given[:, places].unsqueeze(-1)
        self.x = torch.where(given, true, self.x)
        return self._split(self._told(self.x, start))

    def commit(self, step: Step, tokens: Tensor, scale: float) -> None:
        """Go one step along the velocity."""
        start, end = self.spans[step.round]
        fresh = None
        if self.order.solver == "sde" and end:
            fresh = self._noise(step.positions, step.round + 1)
        self.x = moved(self.x, tokens.to(self.x.dtype), start, end, fresh)
        super().commit(step, self.x, scale)

    def _keep(self, stop: int) -> None:
        """Put the clean groups up to a place into the cache, if they are not there."""
        if stop > self.cache.length:
            places = self.order.places[self.cache.length : stop]
            self._told(self.partial.tokens[:, places], 0.0)
            self.cache.advance(len(places))

    def _told(self, x: Tensor, time: float) -> Tensor:
        """Hidden vectors of groups that follow those of the cache, all at one time."""
        if self.guided:
            x = torch.cat([x, x])
        first, last = (self.order.ends.index(self.cache.length + n) for n in (0, x.shape[1]))
        each = x.new_full((len(x), last - first), time)
        return self.order.hidden(self.generator, x, self.told, each, self.cache)

    def _noise(self, places: Tensor, round: int) -> Tensor:
        """Noise of a group; that of round 0 is where its path begins."""
        draws = Draws(self.request.seeds, places, round)
        noise = draws.normal(Role.NOISE, self.partial.tokens.shape[-1])
        return tempered(noise, self.request.warp).to(self.partial.tokens.dtype)
