"""Drafts without a model: what the target predicted behind the last drafts."""

from functools import lru_cache
from typing import Literal, get_args

import torch
from torch import Tensor

from intaglio.generators.generator import Generator
from intaglio.generators.heads.independent import drawn
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.inference.cuda_graph import is_near
from intaglio.generators.orders.base import Request
from intaglio.generators.samplers.acceptance.base import Window
from intaglio.generators.samplers.acceptance.tree import Tree, grown
from intaglio.generators.samplers.drafters.base import Drafter, Drafting, Prefix, Round
from intaglio.generators.samplers.drafters.siblings import without_replacement
from intaglio.generators.samplers.drafters.vectors import PredictedVectors

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
            or that of the ``last`` position that one has, as always of vectors.
        siblings: drafts of each position: besides the first, which the next ones follow, others
            drawn from the rest of the same prediction. All count for the window.

    Raises:
        ValueError: there is no such coupling or initial distribution, or no sibling.
    """

    def __init__(
        self, coupling: Coupling = "gumbel", initial: Initial = "last", siblings: int = 1
    ) -> None:
        if siblings < 1:
            raise ValueError(f"a position has 1 draft or more, got {siblings}")
        if coupling not in get_args(Coupling) or initial not in get_args(Initial):
            raise ValueError(
                f"couplings are {', '.join(get_args(Coupling))}, initial distributions "
                f"{', '.join(get_args(Initial))}, not {coupling!r} and {initial!r}"
            )
        self.coupling: Coupling = coupling
        self.initial: Initial = initial
        self.siblings = siblings

    def begin(self, generator: Generator, request: Request, window: int) -> Drafting:
        """See `Drafter.begin`.

        Raises:
            ValueError: the tokens are vectors, which have no siblings.
        """
        if not generator.head.vocab:
            if self.siblings > 1:
                raise ValueError(f"{generator.name} draws vectors, which have no siblings")
            same, keep = self.coupling == "gumbel", self.coupling == "maximal"
            tokens = request.partial.tokens
            return PredictedVectors(tokens, same_numbers=same, keep_tokens=keep)
        return _JacobiDrafting(self, len(request.seeds), generator.head.vocab)


class _JacobiDrafting(Drafting):
    changing = ("last",)

    def __init__(self, drafter: JacobiDrafter, batch: int, vocab: tuple[int, ...]) -> None:
        self.coupling, self.initial = drafter.coupling, drafter.initial
        self.batch, self.vocab = batch, vocab
        self.siblings = min(drafter.siblings, *vocab)
        self.last: Round | None = None

    def propose(self, prefix: Prefix, draws: Draws) -> Window:
        """See `Drafting.propose`."""
        window = draws.positions.shape[1]
        siblings = max(1, min(self.siblings, window))
        levels = window // siblings
        draws = draws._replace(positions=draws.positions[:, :levels])
        if self.last is not None and self.last.raced and self._is_race_over(siblings):
            return Window(self._raced(self.last, draws), None)
        log_probs, tokens = self._predicted(levels, draws)
        if siblings == 1:
            return Window(tokens, log_probs)
        return self._with_siblings(log_probs, tokens, siblings, draws)

    def observe(self, round: Round) -> None:
        """See `Drafting.observe`."""
        self.last = round

    def refill(self, rows: Tensor) -> bool:
        """See `Drafting.refill`: no prediction has reached the new items."""
        if self.last is not None:
            far = self.last.verdict.tokens.shape[1]
            self.last = self.last._replace(kept=self.last.kept.index_fill(0, rows, far))
        return True

    def _predicted(self, levels: int, draws: Draws) -> tuple[list[Tensor], Tensor]:
        """A chain of drafts, and what each is drawn from."""
        if self.last is None:
            log_probs = self._uniform(levels, draws.seeds.device)
            return log_probs, self._drawn(log_probs, draws)
        target, verdict, kept, path, _ = self.last
        index = kept.unsqueeze(1) + torch.arange(levels, device=kept.device)
        predicted = verdict.tokens.shape[1] if path is None else path.shape[1]
        fresh = (index >= predicted).unsqueeze(-1)
        index = index.clamp_max(predicted - 1)
        index = (index if path is None else path.gather(1, index)).unsqueeze(-1)
        log_probs = [one.take_along_dim(index, 1) for one in target]
        if self.initial == "uniform":
            pairs = zip(log_probs, self._uniform(levels, kept.device), strict=True)
            log_probs = [torch.where(fresh, other, one) for one, other in pairs]
        tokens = self._drawn(log_probs, draws)
        if self.coupling == "maximal":
            tokens = torch.where(fresh, tokens, verdict.of_target.take_along_dim(index, 1))
        return log_probs, tokens

    def _is_race_over(self, siblings: int) -> bool:
        """Whether the verdict has the drafts, but for positions that it did not reach."""
        return self.coupling == "gumbel" and self.initial == "last" and siblings == 1

    def _raced(self, last: Round, draws: Draws) -> Tensor:
        """The tokens of `_predicted`, for a rule that does not ask what they are drawn from."""
        target, verdict, kept, _, _ = last
        levels, predicted = draws.positions.shape[1], verdict.tokens.shape[1]
        if is_near(kept.device) and len(set(kept.tolist())) == 1:
            tokens = verdict.tokens[:, int(kept[0]) :][:, :levels]
            known = tokens.shape[1]
            if known < levels:
                rest = draws._replace(positions=draws.positions[:, known:])
                new = self._drawn([one[:, -1:] for one in target], rest)
                tokens = torch.cat([tokens, new], dim=1)
            return tokens
        index = kept.unsqueeze(1) + torch.arange(levels, device=kept.device)
        tokens = verdict.tokens.take_along_dim(index.clamp_max(predicted - 1).unsqueeze(-1), 1)
        # to look at a number may cost less than races that nobody needs
        near = is_near(kept.device)
        reached = max(0, min(levels, predicted - int(kept.max()))) if near else 0
        rest = draws._replace(positions=draws.positions[:, reached:])
        fresh = (index[:, reached:] >= predicted).unsqueeze(-1)
        new = self._drawn([one[:, -1:] for one in target], rest)
        new = torch.where(fresh, new, tokens[:, reached:])
        return torch.cat([tokens[:, :reached], new], dim=1)

    def _with_siblings(
        self, log_probs: list[Tensor], tokens: Tensor, siblings: int, draws: Draws
    ) -> Window:
        """A chain, and behind each of its tokens others in place of the next."""
        ids, laws = [], []
        numbers, role = self._numbers(draws)
        keys = numbers.keys(role, len(self.vocab)).unbind(-1)
        pairs = zip(log_probs, tokens.unbind(-1), keys, strict=True)
        for law, first, key in pairs:
            left = law.scatter(-1, first.unsqueeze(-1), -torch.inf)
            others, others_law = without_replacement(left, key, siblings - 1)
            ids.append(torch.cat([first.unsqueeze(-1), others], -1).flatten(1))
            laws.append(torch.cat([law.unsqueeze(-2), others_law], -2).flatten(1, 2))
        tree = comb(tokens.shape[1], siblings, tokens.device)
        return Window(torch.stack(ids, -1), laws, tree)

    def _uniform(self, levels: int, device: torch.device) -> list[Tensor]:
        logits = [torch.zeros(size, device=device).log_softmax(0) for size in self.vocab]
        return [one.expand(self.batch, levels, -1) for one in logits]

    def _drawn(self, log_probs: list[Tensor], draws: Draws) -> Tensor:
        return drawn(log_probs, *self._numbers(draws))

    def _numbers(self, draws: Draws) -> tuple[Draws, Role]:
        if self.coupling == "gumbel":
            return draws._replace(round=0), Role.TOKEN
        return draws, Role.DRAFT


@lru_cache(maxsize=64)
def comb(levels: int, siblings: int, device: torch.device) -> Tree:
    """A tree in which only the first of the siblings is followed, of batch 1."""
    drafts = torch.arange(levels * siblings, device=device)
    before = drafts // siblings * siblings - siblings + 1
    return grown(before.clamp_min(0).unsqueeze(0), siblings=siblings, levels=levels)
