"""Rounds of speculative sampling: drafts, one pass of the target, and what is kept."""

import time
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.generator import Generator
from intaglio.generators.heads.base import SamplingOptions
from intaglio.generators.heads.densities import DensityHead
from intaglio.generators.heads.independent import IndependentHead
from intaglio.generators.inference.counter_rng import Ahead, Draws
from intaglio.generators.inference.round_graphs import RoundGraphs
from intaglio.generators.orders.base import PartialSequence, Request, Step
from intaglio.generators.orders.recorded_step import addresses, is_recorded
from intaglio.generators.samplers.acceptance.base import AcceptanceRule, Window
from intaglio.generators.samplers.adaptive_window import AdaptiveWindow
from intaglio.generators.samplers.batch import DraftedBatch
from intaglio.generators.samplers.drafters.base import Drafter, Prefix, Round


class Speculation(NamedTuple):
    """How rounds are played; see `SpeculativeSampler`."""

    drafter: Drafter
    rule: AcceptanceRule
    window: int | AdaptiveWindow
    guidance: Guidance


class Rounds:
    """The rounds of a batch.

    Args:
        generator: the target.
        request: the batch.
        speculation: how they are played.

    Attributes:
        batch: its tokens.
    """

    def __init__(self, generator: Generator, request: Request, speculation: Speculation) -> None:
        assert isinstance(generator.head, IndependentHead | DensityHead)
        self.generator, self.head = generator, generator.head
        self.request = request = request._replace(seeds=request.seeds.clone())
        self.drafter, self.rule, window, guidance = speculation
        self.adaptive = window if isinstance(window, AdaptiveWindow) else None
        self.widest = window if isinstance(window, int) else window.widths[-1]
        self.batch = DraftedBatch(generator, request, self.widest)
        total, device = self.batch.total, request.seeds.device
        times = [number / max(1, total - 1) for number in range(total)]
        scales = torch.tensor([guidance.at(time) for time in times], dtype=torch.float64)
        # of positions behind the last one, too, where drafts may be that count for nothing
        self.scales = F.pad(scales, (0, self.widest + 1), value=guidance.at(1.0)).to(device)
        self.drafting = self.drafter.begin(generator, request, self.widest)
        # on a CPU, what it does for others does not count
        self.clock = time.thread_time if device.type == "cpu" else time.perf_counter
        self.places = torch.arange(total + self.widest + 1, device=device).unsqueeze(0)
        self.number, self.ages = 0, torch.zeros_like(request.seeds)
        self.begun = self._state()
        self.graphs = RoundGraphs(is_recorded(device) and isinstance(self.head, IndependentHead))
        self.weights = addresses(generator) if self.graphs.recorded else []
        self.ahead = self._ahead()

    def play(self) -> Step:
        """A round; gives the positions that it was about."""
        batch, begun = self.batch, self.clock()
        adaptive = self.adaptive if self.number else None
        width = adaptive.choose(batch.size) if adaptive else self.widest if self.number else 0
        chosen = width
        if self.rule.pathwise and batch.front is not None:  # none behind the end
            width = min(width, batch.total - batch.front)
        batch.passes = 1 + (self.drafting.passes if width else 0)
        (state, positions, kept), is_usual = self._played(width)
        self._set_state(state)
        batch.end_round(width)
        if adaptive and width == chosen and is_usual:
            accepted = kept[kept > 0] - 1
            adaptive.observe(batch.size, width, accepted, self.clock() - begun)
        self.number += 1
        positions = positions.expand(batch.size, -1)
        return Step(self.number - 1, batch.total, positions if batch.near else positions.clone())

    def _played(self, width: int) -> tuple[tuple[tuple[Any, ...], Tensor, Tensor], bool]:
        """What `_round` gives, and whether it took as long as rounds of this width do."""
        state = self._state()
        windows = self.batch.windows
        if windows.is_empty:
            return self._round(width, state), True
        self.batch.begin_round(width)
        key = width, windows.cache.used
        return self.graphs.call(key, partial(self._round, width), state)

    def _round(self, width: int, state: tuple[Any, ...]) -> tuple[tuple[Any, ...], Tensor, Tensor]:
        """A round on the device, which the host need not see: no number of a tensor is looked at,
        and tensors change in their places only, but for those of the drafter.

        Args:
            width: drafts.
            state: the values of `Drafting.changing`.

        Returns:
            Their new values, the positions that the round was about, and how many tokens of each
            item it made certain, int64 [batch].
        """
        batch, drafting = self.batch, self.drafting
        self._set_state(state)
        positions = batch.next_positions(width)
        draws = Draws(self.request.seeds, batch.places(positions), self.ages, self.ahead)
        if width:
            prefix = Prefix(batch.tokens[:, : batch.total], batch.lengths)
            drafts = drafting.propose(prefix, draws._replace(positions=draws.positions[:, :-1]))
            positions = batch.positions(drafts)
            window = self._judgeable(batch.with_given(drafts, positions))
            draws = draws._replace(positions=batch.places(positions))
        else:
            window = Window(batch.tokens[:, :0], None)  # no drafts
        hidden, null = batch.hidden(window, positions)
        scales = self.scales[positions]
        target = self.head.distribution(hidden, SamplingOptions(null, scales, self.request.warp))
        verdict = self.rule.verify(window, target, draws)
        kept, path = batch.commit(window, verdict, positions)
        drafting.observe(Round(target, verdict, kept, path, self.rule.pathwise))
        self.ages += 1
        return self._state(), draws.positions, kept

    def _state(self) -> tuple[Any, ...]:
        return tuple(getattr(self.drafting, name) for name in self.drafting.changing)

    def _set_state(self, state: tuple[Any, ...]) -> None:
        for name, value in zip(self.drafting.changing, state, strict=True):
            setattr(self.drafting, name, value)

    def _ahead(self) -> Ahead | None:
        """Numbers of all positions at once, where operations cost more than numbers."""
        if not self.batch.near:
            return None
        return Ahead(None, Draws(self.request.seeds, self.places), {})

    def refill(self, rows: Tensor, condition: Tensor, seeds: Tensor) -> None:
        """Begin other items in some rows, int64 [count], each with its condition and seed."""
        batch = self.batch
        self.request.seeds.index_copy_(0, rows, seeds)
        self.request = request = self.request._replace(
            condition=self.request.condition.index_copy(0, rows, condition)
        )
        self.ages.index_fill_(0, rows, 0)
        self.ahead = self._ahead()
        was_begun_anew = batch.windows.last is not None
        batch.restart(rows, condition)
        if not was_begun_anew:
            self.graphs.clear()
        if not self.drafting.refill(rows):
            known = PartialSequence(batch.certain(), batch.mask())
            self.drafting = self.drafter.begin(
                self.generator, request._replace(partial=known), self.widest
            )
            self.graphs.clear()

    def fits(self, generator: Generator, request: Request) -> bool:
        """Whether `restart` takes a batch: one of the same form, of which nothing is given."""
        mine, batch = self.request, self.batch
        return (
            self.generator is generator
            and self.weights == addresses(generator)
            and (mine.guided, mine.end) == (request.guided, request.end)
            and mine.warp is request.warp
            and mine.condition.shape == request.condition.shape
            and batch.given.tokens.shape == request.partial.tokens.shape
            and batch.sequence is None
            and not (batch.any_given or bool(request.partial.given.any()))
        )

    def restart(self, request: Request) -> None:
        """Begin another batch as this one began; its rounds are those that are recorded."""
        rows = torch.arange(self.batch.size, device=request.seeds.device)
        self.refill(rows, request.condition, request.seeds)
        self._set_state(self.begun)
        self.batch.bounds, self.batch.gain, self.number = (0, 0), 0, 0
        self.batch.ledger.clear()

    def _judgeable(self, window: Window) -> Window:
        """The window, if the rule judges such ones."""
        if window.tree is not None and not self.rule.takes_trees:
            raise ValueError(
                f"{type(self.rule).__name__} judges one draft of a token, and the drafter makes "
                "several"
            )
        return window
