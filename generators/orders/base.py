"""What every order is: predictions for training, and a state in which tokens are drawn."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.codecs.part import Part
from intaglio.generators.backbone import Backbone
from intaglio.generators.heads.base import Head
from intaglio.generators.inference.counter_rng import Draws
from intaglio.generators.inference.logits import PLAIN, Warp
from intaglio.generators.orders.recorded_step import StepRecorder


class Predictions(NamedTuple):
    """Hidden vectors that a head predicts tokens from, and the true tokens.

    Attributes:
        hidden: [tokens, dim], of all tokens that are predicted in a batch.
        target: [tokens, width].
        positions: int64 [tokens], where each stands in its item.
        mask: bool [batch, positions], which are predicted, of items of any length: the tokens
            stand in its order; None otherwise.
    """

    hidden: Tensor
    target: Tensor
    positions: Tensor
    mask: Tensor | None = None


class PartialSequence(NamedTuple):
    """Tokens of a batch while they are drawn.

    Attributes:
        tokens: [batch, positions, width].
        given: bool [batch, positions]; tokens that were there before and never change.
    """

    tokens: Tensor
    given: Tensor


class Request(NamedTuple):
    """A batch to be drawn.

    Attributes:
        condition: of each item.
        partial: the tokens that are given; those that are drawn are written into it.
        seeds: int64 [batch].
        guided: whether hidden vectors are also wanted without the condition.
        steps: in how many steps, if the order leaves a choice; None for its own number.
        warp: of the distributions, for an order that draws noise itself.
        end: id of the first group that ends an item; None for items of one length.
        recorder: of steps as CUDA graphs, which the sampler owns; None to record none.
    """

    condition: Tensor
    partial: PartialSequence
    seeds: Tensor
    guided: bool = False
    steps: int | None = None
    warp: Warp = PLAIN
    end: int | None = None
    recorder: StepRecorder | None = None


class Step(NamedTuple):
    """Positions that are drawn together.

    Attributes:
        number: of the step, from 0.
        total: steps of the batch.
        positions: int64 [1, count], the same for all items, or [batch, count].
        round: how often a position was drawn before.
        known: share of the tokens that are known after it, where that is the time.
    """

    number: int
    total: int
    positions: Tensor
    round: int = 0
    known: float | None = None

    @property
    def time(self) -> float:
        """0 at the first step, 1 at the last; or the share that is known."""
        if self.known is not None:
            return self.known
        return self.number / max(1, self.total - 1)


class DecodingState:
    """Base: one batch that is drawn step by step.

    Args:
        backbone: of the generator that draws.
        request: the batch.

    Attributes:
        mask: bool [batch, positions], which positions the items have so far, of items of any
            length; None for items of one length.
    """

    mask: Tensor | None = None

    def __init__(self, backbone: Backbone, request: Request) -> None:
        self.backbone, self.request = backbone, request
        self.partial, self.guided = request.partial, request.guided
        self.batch = len(self.partial.tokens)
        self.condition = request.condition
        if self.guided:
            everyone = torch.ones(self.batch, dtype=torch.bool, device=self.partial.given.device)
            null = backbone.condition.dropped(self.condition, everyone)
            self.condition = torch.cat([self.condition, null])

    def steps(self) -> Iterator[Step]:
        """The steps, in order; what is drawn is committed before the next is asked for."""
        raise NotImplementedError

    def hidden(self, step: Step) -> tuple[Tensor, Tensor | None]:
        """Hidden vectors of a step's positions, [batch, count, dim]; and without the condition."""
        raise NotImplementedError

    def draws(self, step: Step) -> Draws:
        """Random numbers of a step's positions."""
        return Draws(self.request.seeds, step.positions, step.round)

    def commit(self, step: Step, tokens: Tensor, scale: float) -> None:
        """Take tokens, [batch, count, width], drawn with that guidance scale; given ones stay."""
        positions = step.positions.expand(self.batch, -1)
        index = positions.unsqueeze(-1).expand_as(tokens)
        given = self.partial.given.gather(1, positions).unsqueeze(-1)
        kept = self.partial.tokens.gather(1, index)
        self.partial.tokens.scatter_(1, index, torch.where(given, kept, tokens))

    def close(self) -> None:
        """Give back what the state has borrowed; it draws no more."""

    def _split(self, hidden: Tensor) -> tuple[Tensor, Tensor | None]:
        if not self.guided:
            return hidden, None
        conditional, null = hidden.split(self.batch)
        return conditional, null


class Order(Part):
    """Base of orders.

    Attributes:
        takes_prefixes: whether the first tokens of an item can be drawn without the others.
    """

    takes_prefixes = False

    def begin(self, done: float) -> None:
        """Called before each step of a training with the share of it that is over."""

    def predictions(self, backbone: Backbone, tokens: Tensor, condition: Tensor) -> Predictions:
        """What is predicted of a batch.

        Args:
            backbone: of the generator that learns.
            tokens: [batch, positions, width].
            condition: of each item, as `Condition` takes it.
        """
        raise NotImplementedError

    def start_decoding(self, backbone: Backbone, head: Head, request: Request) -> DecodingState:
        """Begin to draw a batch.

        Args:
            backbone: of the generator.
            head: of the generator; it draws the tokens.
            request: the batch.

        Raises:
            ValueError: what is given, or the number of steps, does not suit the order.
        """
        raise NotImplementedError


class SequenceOrder(Order):
    """Base of orders that also take items of any length.

    Such an item ends with a token that is predicted like any other, or where it has as many tokens
    as the backbone has positions.
    """

    def predictions(
        self, backbone: Backbone, tokens: Tensor, condition: Tensor, mask: Tensor | None = None
    ) -> Predictions:
        """What is predicted of a batch.

        Args:
            backbone: of the generator that learns.
            tokens: [batch, positions, width], the end of each item included.
            condition: of each item, as `Condition` takes it.
            mask: bool [batch, positions], True up to the end of each item; nothing behind it has
                any influence. None if the items fill all positions.
        """
        raise NotImplementedError
