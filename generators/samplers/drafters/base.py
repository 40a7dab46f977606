"""The contract of drafters: where drafts come from."""

from typing import Any, NamedTuple

from torch import Tensor

from intaglio.generators.generator import Generator
from intaglio.generators.inference.counter_rng import Draws
from intaglio.generators.orders.base import Request
from intaglio.generators.samplers.acceptance.base import Verdict, Window


class Prefix(NamedTuple):
    """What is certain of a batch.

    Attributes:
        tokens: int64 [batch, positions, groups]; what stands behind the tokens that are certain has
            no meaning.
        lengths: int64 [batch], how many of each item are certain.
    """

    tokens: Tensor
    lengths: Tensor


class Round(NamedTuple):
    """What a round has found out, for the drafter.

    Attributes:
        target: log-probabilities of each group, a list of [batch, window + 1, vocab]; of vectors
            the `GaussianMixture` there.
        verdict: on its window.
        kept: int64 [batch], tokens of the window and behind it that are certain now.
        path: of a tree, the entry of each depth, int64 [batch, levels + 1]: first those that are
            kept; then, where there are any, the first of their depths. None of a chain.
        raced: whether the verdict's tokens won the races of round 0, as with a rule that is
            ``pathwise``.
    """

    target: Any
    verdict: Verdict
    kept: Tensor
    path: Tensor | None = None
    raced: bool = False


class Drafting:
    """Base: the drafts of one batch.

    Attributes:
        passes: of the target that every proposal takes.
        changing: names of the attributes that rounds set anew: tensors and numbers, also in lists
            and tuples. Other tensors change in their places only.
    """

    passes = 0
    changing: tuple[str, ...] = ()

    def propose(self, prefix: Prefix, draws: Draws) -> Window:
        """Drafts for the next positions.

        Args:
            prefix: what is certain.
            draws: random numbers for them in this round; as many positions as drafts are wanted,
                at most those that `Drafter.begin` was told.
        """
        raise NotImplementedError

    def observe(self, round: Round) -> None:
        """Learn what became of the last drafts."""

    def refill(self, rows: Tensor) -> bool:
        """Other items begin in some rows, int64 [count]. Whether it can go on; else the drafter
        begins again with what is certain of all items."""
        return False


class Drafter:
    """Base of drafters."""

    def begin(self, generator: Generator, request: Request, window: int) -> Drafting:
        """Begin to draft for a batch.

        Args:
            generator: the target.
            request: the batch, with its conditions, seeds, warp and the tokens that are given.
            window: drafts of each item in a round, at most.
        """
        raise NotImplementedError
