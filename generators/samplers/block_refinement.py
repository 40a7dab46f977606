"""Block refinement: what the code of Continuous Speculative Decoding does with MAR, done cleanly.

Wang et al. (2024) describe drafts of which the first that is refused ends a round. Their released
code does something else: after a block of drafts one pass of the target judges all of them, each by
itself and from what was known before the block, and none behind a refused one is dropped. The
number of passes is fixed beforehand; their speed follows from it, whatever is kept.

That is what this module does. It differs from the code where that is a slip: the ratio of the
densities is not multiplied by that of the spreads along the path, which the code has upside down;
what replaces a draft is the target's own token of the same noise, not one of up to 100 tries or
else zeros; the comparison is in log space; and each token has the guidance of its own step. The
code divides the distance of the last means by their deviation, 0.0064 in MAR's heads, times an
"inner temperature" of 42: here both are one number, the tolerance.
"""

import math
from collections.abc import Iterator
from contextlib import closing

import torch
from torch import Tensor

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.generator import Generator
from intaglio.generators.heads.denoising import StepSchedule
from intaglio.generators.inference.counter_rng import Role
from intaglio.generators.inference.logits import PLAIN, Warp
from intaglio.generators.orders.base import DecodingState, PartialSequence, Step
from intaglio.generators.orders.masked import MaskedOrder
from intaglio.generators.samplers.sampler import UNGUIDED, Event, Sampler
from intaglio.generators.samplers.statistics import Statistics

TOLERANCE = 0.27  # 42 deviations of the last step of MAR's heads


class BlockRefinement(Sampler):
    """Approximate: a small generator drafts, and one pass judges a block; no bound is known.

    A draft x is kept with probability exp(-|x - y|^2 / (2 t^2)), where y is the target's own token
    of the same noise and t the tolerance; else y stands there. Both see what was known before the
    block, and the drafts also each other, so that not even tolerance 0 gives the distribution of
    the target, but with blocks of one step. Compare it with `Sampler` in as many steps as it takes
    passes.

    Args:
        drafter: a smaller generator of the same vectors, in the same random order.
        block: steps of the drafter before a pass of the target.
        tolerance: in standard deviations of the tokens; 0 keeps no draft, infinity all.
        prefill: share of the steps, at the beginning, that the target takes itself.
        guidance: see `Sampler`; of both generators.
        warp: see `Sampler`.
        steps: see `Sampler`.
        denoising: see `Sampler`; a block has that of its first step.

    Attributes:
        statistics: of the last batch; the excess is nan, since nobody knows it.

    Raises:
        ValueError: an argument is out of range, or the drafter has no random order.
    """

    def __init__(
        self,
        drafter: Generator,
        *,
        block: int = 8,
        tolerance: float = TOLERANCE,
        prefill: float = 0.05,
        guidance: Guidance = UNGUIDED,
        warp: Warp = PLAIN,
        steps: int | None = None,
        denoising: StepSchedule | None = None,
    ) -> None:
        super().__init__(guidance=guidance, warp=warp, steps=steps, denoising=denoising)
        if block < 1 or not tolerance >= 0 or not 0 <= prefill <= 1:
            raise ValueError(
                "a block has 1 step or more, a tolerance is 0 or more and a share 0 to 1, not "
                f"{block}, {tolerance} and {prefill}"
            )
        _order(drafter)
        self.drafter, self.block = drafter, block
        self.tolerance, self.prefill = tolerance, prefill
        self.statistics = Statistics(excess=math.nan)

    @torch.no_grad()
    def events(
        self,
        generator: Generator,
        condition: Tensor,
        *,
        seed: int | Tensor = 0,
        given: PartialSequence | None = None,
    ) -> Iterator[Event]:
        """Draw a batch block by block; arguments as for `generate`. At least one event comes.

        Raises:
            ValueError: the generator has another order or other tokens than the drafter, or the
                arguments do not fit it.
        """
        steps = self._steps(generator)
        start, request = self._request(generator, condition, seed, given)
        request = request._replace(steps=steps)
        drafted = PartialSequence(
            self._translated(request.partial.tokens, generator, self.drafter),
            request.partial.given.clone(),
        )
        self.statistics = Statistics(excess=math.nan)
        step = Step(0, steps, torch.empty(1, 0, dtype=torch.int64, device=request.seeds.device))
        block: list[Step] = []
        with (
            closing(generator.start_decoding(request)) as ours,
            closing(self.drafter.start_decoding(request._replace(partial=drafted))) as theirs,
        ):

            def event() -> Event:
                return Event(step, self._shown(generator, start, request.partial.tokens))

            for step in theirs.steps():
                scale = self.guidance.at(step.time)
                if step.number < self.prefill * steps:
                    tokens = self._draw(generator, ours, step, scale)
                    ours.commit(step, tokens, scale)
                    theirs.commit(step, self._translated(tokens, generator, self.drafter), scale)
                    self._count(tokens)
                    yield event()
                    continue
                block.append(step)
                # the noise and the denoising steps of the whole block are those of its first step
                noise = step._replace(round=block[0].round, known=block[0].known)
                theirs.commit(step, self._draw(self.drafter, theirs, noise, scale), scale)
                if len(block) == self.block:
                    self._refine(generator, (ours, theirs), block)
                    block = []
                    yield event()
            if block:
                self._refine(generator, (ours, theirs), block)
            yield event()

    def _refine(
        self, generator: Generator, states: tuple[DecodingState, DecodingState], block: list[Step]
    ) -> None:
        """One pass of the target over the positions of a block."""
        ours, theirs = states
        counts = [step.positions.shape[1] for step in block]
        scales = [self.guidance.at(step.time) for step in block]
        positions = torch.cat([step.positions.expand(ours.batch, -1) for step in block], 1)
        step = block[0]._replace(positions=positions)
        scale = torch.tensor([scales], device=positions.device).repeat_interleave(
            torch.tensor(counts, device=positions.device), 1
        )
        own = self._draw(generator, ours, step, scale)
        drafts = theirs.partial.tokens.take_along_dim(positions.unsqueeze(-1), 1)
        drafts = self._translated(drafts, self.drafter, generator).to(own)
        apart = (drafts - own).square().sum(-1).double() / 2
        numbers = ours.draws(step).uniform(Role.ACCEPTANCE)[..., 0]
        kept = numbers.log() * self.tolerance**2 <= -apart if self.tolerance else apart < 0
        end = step._replace(number=block[-1].number)
        ours.commit(end, torch.where(kept.unsqueeze(-1), drafts, own), scales[-1])
        known = self._translated(ours.partial.tokens, generator, self.drafter)
        theirs.partial.tokens.copy_(known)
        self._count(own, kept)

    def _count(self, tokens: Tensor, kept: Tensor | None = None) -> None:
        """Add a pass of the target, and its tokens."""
        found, (batch, count) = self.statistics, tokens.shape[:2]
        self.statistics = found._replace(
            passes=found.passes + 1,
            item_passes=found.item_passes + batch,
            tokens=found.tokens + batch * count,
            drafts=found.drafts + (0 if kept is None else kept.numel()),
            accepted=found.accepted + (0 if kept is None else int(kept.sum())),
        )

    def _translated(self, tokens: Tensor, source: Generator, target: Generator) -> Tensor:
        """Vectors as another generator takes them."""
        return target.normalise(source.denormalise(tokens))

    def _steps(self, generator: Generator) -> int:
        """Steps of both generators, which must fit together."""
        order, mine = _order(generator), _order(self.drafter)
        theirs = (generator.width, generator.shape, order.schedule)
        if (self.drafter.width, self.drafter.shape, mine.schedule) != theirs:
            raise ValueError(
                f"{self.drafter.name} draws {self.drafter.shape} vectors of {self.drafter.width} "
                f"channels by the schedule {mine.schedule}, no drafts for {generator.shape} of "
                f"{generator.width} by {order.schedule}"
            )
        return min(order.steps, generator.positions) if self.steps is None else self.steps


def _order(generator: Generator) -> MaskedOrder:
    """The random order of a generator of vectors.

    Raises:
        ValueError: it has none.
    """
    order = generator.order
    if generator.vocab or not isinstance(order, MaskedOrder) or order.reveal != "random":
        raise ValueError(f"{generator.name} does not draw vectors in a random order, as MAR does")
    return order
