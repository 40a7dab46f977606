"""Drafts without a model: what the target predicted behind the last drafts."""

from typing import Literal, get_args

import torch
from torch import Tensor

from intaglio.generators.generator import Generator
from intaglio.generators.heads.independent import race
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.orders.base import Request
from intaglio.generators.samplers.acceptance.base import Window
from intaglio.generators.samplers.drafters.base import Drafter, Drafting, Prefix, Round

Coupling = Literal["gumbel", "maximal", "independent"]
Initial = Literal["uniform", "last"]


class JacobiDrafter(Drafter):
    """Drafts from the target itself: what it predicted behind the last drafts (Jacobi decoding).

    No model and no training are needed: the tokens behind a rejected draft are drawn once more,
    from predictions that rested on the old drafts (Speculative Jacobi Decoding; Teng et al., 2024).

    Args:
        coupling: of a token with the one that stood there before. ``gumbel``: the same random
            numbers in all rounds, so that a token changes only as far as its distribution does;
            ``maximal``: kept or replaced as a rejection rule would, for `ModifiedRejection`;
            ``independent``: drawn afresh, as published first.
        initial: distribution of tokens at positions that no prediction has reached: ``uniform``,
            or that of the ``last`` position that one has.

    Raises:
        ValueError: there is no such coupling or initial distribution.
    """

    def __init__(self, coupling: Coupling = "gumbel", initial: Initial = "last") -> None:
        if coupling not in get_args(Coupling) or initial not in get_args(Initial):
            raise ValueError(
                f"couplings are {', '.join(get_args(Coupling))}, initial distributions "
                f"{', '.join(get_args(Initial))}, not {coupling!r} and {initial!r}"
            )
        self.coupling: Coupling = coupling
        self.initial: Initial = initial

    def begin(self, generator: Generator, request: Request, window: int) -> Drafting:
        """See `Drafter.begin`."""
        return _JacobiDrafting(self, len(request.seeds), window, generator.head.vocab)


class _JacobiDrafting(Drafting):
    def __init__(
        self, drafter: JacobiDrafter, batch: int, window: int, vocab: tuple[int, ...]
    ) -> None:
        self.coupling, self.initial = drafter.coupling, drafter.initial
        self.batch, self.window, self.vocab = batch, window, vocab
        self.last: Round | None = None

    def propose(self, prefix: Prefix, draws: Draws) -> Window:
        """See `Drafting.propose`."""
        if self.last is None:
            log_probs = self._uniform(draws.seeds.device)
            return Window(self._drawn(log_probs, draws), log_probs)
        target, verdict, kept = self.last
        index = kept.unsqueeze(1) + torch.arange(self.window, device=kept.device)
        predicted = verdict.tokens.shape[1]
        fresh = (index >= predicted).unsqueeze(-1)
        index = index.clamp_max(predicted - 1).unsqueeze(-1)
        log_probs = [one.take_along_dim(index, 1) for one in target]
        if self.initial == "uniform":
            pairs = zip(log_probs, self._uniform(kept.device), strict=True)
            log_probs = [torch.where(fresh, other, one) for one, other in pairs]
        tokens = self._drawn(log_probs, draws)
        if self.coupling == "maximal":
            tokens = torch.where(fresh, tokens, verdict.tokens.take_along_dim(index, 1))
        return Window(tokens, log_probs)

    def observe(self, round: Round) -> None:
        """See `Drafting.observe`."""
        self.last = round

    def _uniform(self, device: torch.device) -> list[Tensor]:
        logits = [torch.zeros(size, device=device).log_softmax(0) for size in self.vocab]
        return [one.expand(self.batch, self.window, -1) for one in logits]

    def _drawn(self, log_probs: list[Tensor], draws: Draws) -> Tensor:
        same = self.coupling == "gumbel"
        numbers = draws._replace(round=0) if same else draws
        role = Role.TOKEN if same else Role.DRAFT
        return race(log_probs, numbers.keys(role, len(log_probs)))
