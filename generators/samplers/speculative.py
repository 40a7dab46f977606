"""Speculative sampling: several tokens in one pass of the generator.

A drafter guesses the next tokens of each item; one pass of the target, the generator itself, finds
its distributions at all of them, and a rule keeps the first ones. An exact rule gives the tokens
the same distribution as `Sampler` does.
"""

import time
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.generator import Generator
from intaglio.generators.heads.base import SamplingOptions
from intaglio.generators.heads.independent import IndependentHead
from intaglio.generators.inference.counter_rng import Ahead, Draws
from intaglio.generators.inference.logits import PLAIN, Warp
from intaglio.generators.orders.base import PartialSequence, Request, Step
from intaglio.generators.orders.raster import RasterOrder
from intaglio.generators.orders.raster_windows import RasterWindows
from intaglio.generators.samplers.acceptance.base import AcceptanceRule, Verdict, Window
from intaglio.generators.samplers.acceptance.exact import GumbelMatch
from intaglio.generators.samplers.acceptance.tree import Tree
from intaglio.generators.samplers.adaptive_window import AdaptiveWindow
from intaglio.generators.samplers.drafters.base import Drafter, Prefix, Round
from intaglio.generators.samplers.drafters.jacobi import JacobiDrafter
from intaglio.generators.samplers.sampler import UNGUIDED, Event, Sampler
from intaglio.generators.samplers.statistics import Ledger, Statistics

WINDOW = 8  # drafts of a round, where the tokens would depend on an adaptive number


class SpeculativeSampler(Sampler):
    """Draws items of a generator that goes row by row, several tokens in a pass.

    Args:
        drafter: guesses the next tokens; `JacobiDrafter` if None.
        rule: keeps some of them; `GumbelMatch` if None, which draws exactly what `Sampler` draws.
        window: drafts of an item in a round, 0 draws one token in a pass; or an `AdaptiveWindow`.
            If None, an adaptive one with a rule that is ``pathwise``, whose tokens do not depend on
            it, else 8.
        guidance: see `Sampler`; the scale of a token is that of its position.
        warp: see `Sampler`.
        positions: see `Sampler`.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        *,
        drafter: Drafter | None = None,
        rule: AcceptanceRule | None = None,
        window: int | AdaptiveWindow | None = None,
        guidance: Guidance = UNGUIDED,
        warp: Warp = PLAIN,
        positions: int | None = None,
    ) -> None:
        super().__init__(guidance=guidance, warp=warp, positions=positions)
        if isinstance(window, int) and window < 0:
            raise ValueError(f"a window holds 0 or more drafts, got {window}")
        self.drafter, self.rule = drafter or JacobiDrafter(), rule or GumbelMatch()
        if window is None:
            window = AdaptiveWindow() if self.rule.pathwise else WINDOW
        self.window = window
        self._ledger = Ledger(0, torch.device("cpu"))

    @property
    def statistics(self) -> Statistics:
        """Of the last batch."""
        return self._ledger.total()

    @property
    def item_statistics(self) -> list[Statistics]:
        """See `Sampler.item_statistics`."""
        return self._ledger.items()

    @torch.no_grad()
    def events(
        self,
        generator: Generator,
        condition: Tensor,
        *,
        seed: int | Tensor = 0,
        given: PartialSequence | None = None,
    ) -> Iterator[Event]:
        """Draw a batch round by round; arguments as for `generate`. At least one event comes.

        Raises:
            ValueError: the generator does not draw row by row, its groups depend on each other,
                its items may have any length, or the arguments do not fit it.
        """
        head = generator.head
        if not isinstance(generator.order, RasterOrder) or not isinstance(head, IndependentHead):
            raise ValueError(
                "speculative sampling takes a generator that draws row by row, with groups of ids "
                f"that do not depend on each other; {generator.name} does not: draw it without a "
                "drafter"
            )
        if generator.end is not None:
            raise ValueError(f"{generator.name} draws items of any length: use Sampler")
        start, request = self._request(generator, condition, seed, given)
        kept = start.given.unsqueeze(-1)
        adaptive = self.window if isinstance(self.window, AdaptiveWindow) else None
        widest = self.window if isinstance(self.window, int) else self.window.widths[-1]
        batch = _Batch(generator.backbone, request, widest)
        self._ledger = batch.ledger
        times = [number / max(1, batch.total - 1) for number in range(batch.total)]
        scales = torch.tensor([self.guidance.at(time) for time in times], dtype=torch.float64)
        scales = scales.to(start.given.device)
        drafting = self.drafter.begin(generator, request, widest)
        every = torch.arange(batch.total + widest + 1, device=scales.device).unsqueeze(0)
        ahead = Ahead(None, Draws(request.seeds, every), {})
        number = 0
        if batch.is_complete():
            yield Event(Step(0, batch.total, batch.next_positions(0)), start.tokens)
        while not batch.is_complete():
            begun = time.perf_counter()
            width = adaptive.choose(batch.size) if adaptive and number else widest
            positions = batch.next_positions(width if number else 0)
            draws = Draws(request.seeds, positions, number, ahead)
            if number == 0 or not width:
                window = _nothing(batch.size, head.width, draws)
            else:
                prefix = Prefix(batch.tokens[:, : batch.total], batch.lengths)
                drafts = drafting.propose(prefix, draws._replace(positions=positions[:, :-1]))
                positions = batch.positions(drafts)
                window = self._judgeable(batch.with_given(drafts, positions))
                draws = draws._replace(positions=positions)
            hidden, null = batch.hidden(window, positions)
            options = SamplingOptions(null, scales[positions.clamp_max(batch.total - 1)], self.warp)
            target = head.distribution(hidden, options)
            verdict = self.rule.verify(window, target, draws)
            became, path = batch.commit(window, verdict, positions)
            drafting.observe(Round(target, verdict, became, path))
            if adaptive and number:
                accepted = became[became > 0] - 1
                adaptive.observe(batch.size, width, accepted, time.perf_counter() - begun)
            tokens = generator.denormalise(batch.certain())
            yield Event(
                Step(number, batch.total, positions), torch.where(kept, start.tokens, tokens)
            )
            number += 1

    def _judgeable(self, window: Window) -> Window:
        """The window, if the rule judges such ones."""
        if window.tree is not None and not self.rule.takes_trees:
            raise ValueError(
                f"{type(self.rule).__name__} judges one draft of a token, and the drafter makes "
                "several"
            )
        return window


class _Batch:
    """The tokens of a batch, of which the first ones of each item are certain.

    Attributes:
        size: items.
        total: positions of an item.
        lengths: int64 [batch], how many are certain.
        ledger: of what became of the drafts.
    """

    def __init__(self, backbone: Backbone, request: Request, window: int) -> None:
        self.given = request.partial
        self.size, self.total = self.given.tokens.shape[:2]
        device = self.given.tokens.device
        condition = request.condition
        if request.guided:
            everyone = torch.ones(self.size, dtype=torch.bool, device=device)
            condition = torch.cat([condition, backbone.condition.dropped(condition, everyone)])
        self.guided = request.guided
        self.windows = RasterWindows(backbone, condition, self.total, window)
        first = int(self.given.given.all(0).sum())
        self.lengths = torch.full((self.size,), first, device=device)
        self.tokens = F.pad(self.given.tokens, (0, 0, 0, window + 1))
        self.ledger = Ledger(self.size, device)

    def is_complete(self) -> bool:
        """Whether all tokens are certain."""
        return bool((self.lengths == self.total).all())

    def certain(self) -> Tensor:
        """The tokens that are certain, [batch, positions, width]; 0 at the other positions."""
        index = torch.arange(self.total, device=self.lengths.device)
        behind = (index >= self.lengths.unsqueeze(1)).unsqueeze(-1)
        return self.tokens[:, : self.total].masked_fill(behind, 0)

    def next_positions(self, window: int) -> Tensor:
        """Positions behind those that are certain, int64 [batch, window + 1]."""
        return self.lengths.unsqueeze(1) + torch.arange(window + 1, device=self.lengths.device)

    def positions(self, window: Window) -> Tensor:
        """Positions behind the last certain token and behind each draft, [batch, window + 1]."""
        if window.tree is None:
            return self.next_positions(window.tokens.shape[1])
        return self.lengths.unsqueeze(1) + window.tree.depths

    def with_given(self, window: Window, positions: Tensor) -> Window:
        """The window, with the tokens that are given in place of drafts."""
        is_given, tokens = self._given_at(positions[:, 1:] - 1)
        return window._replace(tokens=torch.where(is_given.unsqueeze(-1), tokens, window.tokens))

    def hidden(self, window: Window, positions: Tensor) -> tuple[Tensor, Tensor | None]:
        """Hidden vectors of positions, [batch, window + 1, dim]; and without the condition."""
        if self.windows.is_empty:
            hidden = self.windows.begin(self._both(self.given.tokens[:, : int(positions[0, 0])]))
        else:
            last = self.tokens.take_along_dim(positions[:, :1, None] - 1, 1)
            tokens = torch.cat([last, window.tokens], dim=1)
            ancestors = None
            if window.tree is not None:
                ancestors = self._both(window.tree.ancestors.expand(self.size, -1, -1))
            hidden = self.windows.hidden(
                self._both(tokens), self._both(positions - 1), ancestors=ancestors
            )
        if not self.guided:
            return hidden, None
        conditional, null = hidden.chunk(2)
        return conditional, null

    def commit(
        self, window: Window, verdict: Verdict, positions: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Make the first tokens of each item certain.

        Returns:
            How many, int64 [batch], and `Round.path`.
        """
        path = None
        if window.tree is not None:
            verdict, path = self._chain(window.tree, verdict, positions)
            positions = self.next_positions(window.tree.levels)
        is_given, given = self._given_at(positions)
        tokens = torch.where(is_given.unsqueeze(-1), given, verdict.tokens)
        inside = positions < self.total
        judged = inside[:, :-1] & ~is_given[:, :-1]
        accepted = (verdict.accepted & judged) | is_given[:, :-1]
        run = accepted.long().cumprod(1)
        kept = torch.minimum(run.sum(1) + 1, self.total - self.lengths)
        # what stands behind the tokens that are certain is overwritten by the next windows
        self.tokens.scatter_(1, positions.unsqueeze(-1).expand_as(tokens), tokens)
        self.lengths = self.lengths + kept
        excess = None
        if verdict.excess is not None:
            reached = F.pad(run, (1, 0), value=1)[:, :-1].bool() & judged
            excess = verdict.excess.masked_fill(~reached, 0).sum(1)
        drafts, stay = judged.sum(1), (run.bool() & judged).sum(1)
        self.ledger.add(torch.stack([inside[:, 0].long(), kept, drafts, stay]), excess)
        return kept, path

    def _chain(self, tree: Tree, verdict: Verdict, positions: Tensor) -> tuple[Verdict, Tensor]:
        """What is kept of a tree as the verdict on a chain, and `Round.path`."""
        # tokens that are given stand in all siblings
        is_given, _ = self._given_at(positions[:, 1:] - 1)
        path, kept = tree.path(torch.where(is_given, tree.is_first(), verdict.accepted))
        self.windows.keep(self._both(positions[:, :1] - 1), self._both(path))
        tokens = verdict.tokens.take_along_dim(path.unsqueeze(-1), 1)
        return Verdict(kept[:, 1:], tokens), path

    def _given_at(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        index = positions.clamp_max(self.total - 1)
        is_given = self.given.given.gather(1, index) & (positions < self.total)
        wide = index.unsqueeze(-1).expand(-1, -1, self.given.tokens.shape[-1])
        return is_given, self.given.tokens.gather(1, wide)

    def _both(self, x: Tensor) -> Tensor:
        return torch.cat([x, x]) if self.guided else x


def _nothing(batch: int, groups: int, draws: Draws) -> Window:
    """A window without drafts."""
    tokens = torch.zeros(batch, 0, groups, dtype=torch.int64, device=draws.seeds.device)
    return Window(tokens, None)
