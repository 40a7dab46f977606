"""Rounds of speculative sampling: drafts, one pass of the target, and what is kept."""

import time
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.generator import Generator
from intaglio.generators.heads.base import SamplingOptions
from intaglio.generators.heads.densities import DensityHead
from intaglio.generators.heads.independent import IndependentHead
from intaglio.generators.inference.counter_rng import Ahead, Draws
from intaglio.generators.orders.base import PartialSequence, Request, Step
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
        self.generator, self.head, self.request = generator, generator.head, request
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
        self.ahead = Ahead(None, Draws(request.seeds, self.places), {})

    def play(self) -> Step:
        """A round; gives the positions that it was about."""
        batch, begun = self.batch, self.clock()
        adaptive = self.adaptive if self.number else None
        width = adaptive.choose(batch.size) if adaptive else self.widest if self.number else 0
        chosen = width
        if self.rule.pathwise and batch.front is not None:  # none behind the end
            width = min(width, batch.total - batch.front)
        positions = batch.next_positions(width)
        draws = Draws(self.request.seeds, batch.places(positions), self.ages, self.ahead)
        batch.passes = 1 + (self.drafting.passes if width else 0)
        if width:
            prefix = Prefix(batch.tokens[:, : batch.total], batch.lengths)
            drafts = self.drafting.propose(
                prefix, draws._replace(positions=draws.positions[:, :-1])
            )
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
        self.drafting.observe(Round(target, verdict, kept, path, self.rule.pathwise))
        if adaptive and width == chosen:
            accepted = kept[kept > 0] - 1
            adaptive.observe(batch.size, width, accepted, self.clock() - begun)
        self.number, self.ages = self.number + 1, self.ages + 1
        return Step(self.number - 1, batch.total, draws.positions.expand(batch.size, -1))

    def refill(self, rows: Tensor, condition: Tensor, seeds: Tensor) -> None:
        """Begin other items in some rows, int64 [count], each with its condition and seed."""
        batch, request = self.batch, self.request
        self.request = request = request._replace(
            condition=request.condition.index_copy(0, rows, condition),
            seeds=request.seeds.index_copy(0, rows, seeds),
        )
        self.ages = self.ages.index_fill(0, rows, 0)
        self.ahead = Ahead(None, Draws(request.seeds, self.places), {})
        batch.restart(rows, condition)
        if not self.drafting.refill(rows):
            known = PartialSequence(batch.certain(), batch.mask())
            self.drafting = self.drafter.begin(
                self.generator, request._replace(partial=known), self.widest
            )

    def _judgeable(self, window: Window) -> Window:
        """The window, if the rule judges such ones."""
        if window.tree is not None and not self.rule.takes_trees:
            raise ValueError(
                f"{type(self.rule).__name__} judges one draft of a token, and the drafter makes "
                "several"
            )
        return window
