"""The reference sampler: the one loop whose distribution everything faster must equal."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.generator import Generator
from intaglio.generators.heads.denoising import StepSchedule
from intaglio.generators.inference.logits import PLAIN, Warp
from intaglio.generators.orders.base import DecodingState, PartialSequence, Request, Step
from intaglio.generators.orders.recorded_step import StepRecorder, is_recorded
from intaglio.generators.samplers.statistics import Statistics

UNGUIDED = Guidance()


class Event(NamedTuple):
    """What a step has drawn.

    Attributes:
        step: its positions.
        tokens: all tokens so far, [batch, positions, width].
        mask: bool [batch, positions], which of them the items have, if they may have any length;
            0 stands at the others.
    """

    step: Step
    tokens: Tensor
    mask: Tensor | None = None


class Sequences(NamedTuple):
    """Items of any length.

    Attributes:
        tokens: [batch, positions, width], positions of the longest item; 0 behind the others.
        mask: bool [batch, positions], which positions the items have; True comes first.
    """

    tokens: Tensor
    mask: Tensor


class Sampler:
    """Draws items of a generator.

    The tokens of an item depend on its seed, its condition and what is given of it, not on the
    other items of its batch.

    Args:
        guidance: how strongly the condition counts.
        warp: temperature and truncation of each distribution.
        steps: in how many steps, if the order leaves a choice; None for its own number.
        positions: draw only so many first tokens, where the order goes row by row and the codec
            decodes prefixes (FlexTok); None for all.
        denoising: steps of a head that denoises, for the first tokens and for the last; None for
            its own number everywhere.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        *,
        guidance: Guidance = UNGUIDED,
        warp: Warp = PLAIN,
        steps: int | None = None,
        positions: int | None = None,
        denoising: StepSchedule | None = None,
    ) -> None:
        guidance.check()
        warp.check()
        if denoising is not None:
            denoising.check()
        if steps is not None and steps < 1:
            raise ValueError(f"to draw takes a step at least, got {steps}")
        self.guidance, self.warp, self.steps = guidance, warp, steps
        self.positions, self.denoising = positions, denoising
        self._recorder = StepRecorder()

    @property
    def item_statistics(self) -> list[Statistics]:
        """Of each item of the last batch; none if one token is drawn in a pass."""
        return []

    def generate(
        self,
        generator: Generator,
        condition: Tensor,
        *,
        seed: int | Tensor = 0,
        given: PartialSequence | None = None,
        callback: Callable[[Event], None] | None = None,
    ) -> Tensor:
        """Draw a batch of items that all have the same number of tokens.

        Args:
            generator: on its device, in evaluation mode.
            condition: of each item.
            seed: of the first item, the others have those after it; or int64 [batch].
            given: tokens that are kept, with a mask of where they stand; of items of any length
                the first positions suffice.
            callback: is called after every step.

        Returns:
            [batch, positions, width], int64 ids, or vectors in float32 at least.

        Raises:
            ValueError: the generator trains, its items may have any length, or the arguments do
                not fit it.
        """
        if generator.end is not None:
            raise ValueError(f"{generator.name} draws items of any length: use generate_sequences")
        return self.generate_sequences(
            generator, condition, seed=seed, given=given, callback=callback
        ).tokens

    def generate_sequences(
        self,
        generator: Generator,
        condition: Tensor,
        *,
        seed: int | Tensor = 0,
        given: PartialSequence | None = None,
        callback: Callable[[Event], None] | None = None,
    ) -> Sequences:
        """Draw a batch of items that may have any length; arguments as for `generate`.

        Each item ends by itself, or at the last position; the drawing goes on for the others.
        """
        event = None
        for event in self.events(generator, condition, seed=seed, given=given):
            if callback is not None:
                callback(event)
        assert event is not None
        tokens, mask = event.tokens, event.mask
        if mask is None:
            return Sequences(tokens, tokens.new_ones(tokens.shape[:2], dtype=torch.bool))
        longest = int(mask.sum(1).max())
        return Sequences(tokens[:, :longest], mask[:, :longest])

    @torch.no_grad()
    def events(
        self,
        generator: Generator,
        condition: Tensor,
        *,
        seed: int | Tensor = 0,
        given: PartialSequence | None = None,
    ) -> Iterator[Event]:
        """Draw a batch step by step; arguments as of `generate`. At least one event comes."""
        start, request = self._request(generator, condition, seed, given)
        step = Step(0, 1, torch.empty(1, 0, dtype=torch.int64, device=request.seeds.device))
        drawn = False
        with closing(generator.start_decoding(request)) as state:  # also if it is abandoned
            for step in state.steps():
                scale = self.guidance.at(step.time)
                tokens = self._draw(generator, state, step, scale)
                state.commit(step, tokens, scale)
                drawn = True
                mask = None if state.mask is None else state.mask.clone()  # it goes on changing
                yield Event(step, self._shown(generator, start, request.partial.tokens), mask)
            if not drawn:
                yield Event(step, start.tokens, state.mask)

    def _shown(self, generator: Generator, start: PartialSequence, tokens: Tensor) -> Tensor:
        """Tokens as codecs take them; those that were given, exactly as they were."""
        given = start.given.unsqueeze(-1)
        return torch.where(given, start.tokens, generator.denormalise(tokens))

    def _draw(
        self, generator: Generator, state: DecodingState, step: Step, scale: float | Tensor
    ) -> Tensor:
        """Tokens of a step, [batch, positions, width]; scale as in `Head.sample`."""
        hidden, null = state.hidden(step)
        return generator.head.sample(
            hidden,
            state.draws(step),
            null=null,
            scale=scale,
            warp=self.warp,
            steps=None if self.denoising is None else self.denoising.at(step.time),
        )

    def _request(
        self,
        generator: Generator,
        condition: Tensor,
        seed: int | Tensor,
        given: PartialSequence | None,
    ) -> tuple[PartialSequence, Request]:
        """What is known before the first step, in the units of the tokens, and the batch."""
        if generator.training:
            raise ValueError("a generator draws in evaluation mode: call its eval() first")
        if self.denoising is not None and not generator.head.denoises:
            raise ValueError(f"{generator.name} draws tokens at once, without denoising steps")
        device = next(generator.parameters()).device
        condition = condition.to(device)
        start = self._start(generator, len(condition), given, device)
        request = Request(
            condition,
            PartialSequence(generator.normalise(start.tokens).clone(), start.given.clone()),
            seeds_of(seed, len(condition)).to(device),
            guided=self.guidance.scale != 1,
            steps=self.steps,
            warp=self.warp,
            end=generator.end,
            recorder=self._recorder if is_recorded(device) else None,
        )
        return start, request

    def _start(
        self, generator: Generator, batch: int, given: PartialSequence | None, device: torch.device
    ) -> PartialSequence:
        """What is known before the first step, in the units of the tokens."""
        positions = generator.positions if self.positions is None else self.positions
        if positions != generator.positions and not generator.order.takes_prefixes:
            raise ValueError(f"{generator.name} draws all {generator.positions} tokens")
        if not 1 <= positions <= generator.positions:
            raise ValueError(f"{generator.name} draws 1 to {generator.positions} tokens")
        shape = (batch, positions, generator.width)
        dtype = torch.int64
        if generator.mean is not None:
            dtype = torch.promote_types(generator.mean.dtype, torch.float32)
        if given is None:
            tokens = torch.zeros(shape, dtype=dtype, device=device)
            return PartialSequence(tokens, torch.zeros(shape[:2], dtype=torch.bool, device=device))
        if generator.end is not None:
            missing = max(0, positions - given.tokens.shape[1])
            given = PartialSequence(
                F.pad(given.tokens, (0, 0, 0, missing)), F.pad(given.given, (0, missing))
            )
        if given.tokens.shape != shape or given.given.shape != shape[:2]:
            raise ValueError(
                f"tokens {list(shape)} and a mask {list(shape[:2])} can be given, got "
                f"{list(given.tokens.shape)} and {list(given.given.shape)}"
            )
        return PartialSequence(given.tokens.to(device, dtype), given.given.to(device))


def seeds_of(seed: int | Tensor, batch: int) -> Tensor:
    """Seeds of a batch, int64 [batch]: from the first on, or as they are.

    Raises:
        ValueError: there are not as many.
    """
    if isinstance(seed, int):
        return torch.arange(batch) + seed
    if seed.shape != (batch,):
        raise ValueError(f"{batch} seeds are needed, got {list(seed.shape)}")
    return seed
