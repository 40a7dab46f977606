"""The contract of acceptance rules: which drafts are kept, and what stands in place of the others.

Exact rules give every token the distribution that the target has there, whatever was drafted.
Approximate ones say how far off they are.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from intaglio.generators.heads.densities import GaussianMixture
from intaglio.generators.heads.independent import race
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.samplers.acceptance.tree import Tree

TINY = 1e-30  # total of a residual below which it is rounding alone


class Window(NamedTuple):
    """Drafted tokens of each item, behind those that are certain.

    Attributes:
        tokens: int64 [batch, window, groups], or float [batch, window, channels].
        log_probs: of each group [batch, window, vocab]: the distribution that the tokens were
            really drawn from, given all that stood before them, in a tree also the siblings drawn
            before them. None if they were not drawn, or nobody knows how: rules then take them as
            they are, of probability 1.
        tree: which draft follows which; None if each follows the one before it, a chain.
        law: of vectors, what `log_probs` is of ids.
    """

    tokens: Tensor
    log_probs: list[Tensor] | None
    tree: Tree | None = None
    law: GaussianMixture | None = None


class Verdict(NamedTuple):
    """What becomes of a window.

    Attributes:
        accepted: bool [batch, window], whether a draft is kept if all before it are; of siblings
            in a tree one at most.
        tokens: int64 [batch, window + 1, groups], what stands at each position if all drafts
            before it are kept: the draft, its replacement, or, at the last one, a further token.
            Of a tree, what follows each of its entries.
        excess: float [batch, window], of rules that are not exact: how far the distribution of the
            token at each position is from the target's, in total variation, or a bound of it; or
            a number whose mean over the drafts of the drafter is that. None is 0 everywhere.
        redrawn: of such rules, what stands at each position by an exact rule and the same numbers.
    """

    accepted: Tensor
    tokens: Tensor
    excess: Tensor | None = None
    redrawn: Tensor | None = None

    @property
    def of_target(self) -> Tensor:
        """Tokens like `tokens` that have the target's distribution whatever the rule."""
        return self.tokens if self.redrawn is None else self.redrawn


class AcceptanceRule:
    """Base of rules.

    Attributes:
        exact: whether the tokens have the distribution of the target.
        pathwise: whether they are those that `Sampler` draws for the seeds, whatever is drafted:
            the token at each position of a window wins the race of round 0 there.
        takes_trees: whether it judges trees of drafts.
        takes_vectors: whether it judges vectors, not ids.
    """

    exact: bool
    pathwise: bool = False
    takes_trees: bool = False
    takes_vectors: bool = False

    def verify(self, window: Window, target: Any, draws: Draws) -> Verdict:
        """Judge a window.

        Args:
            window: the drafts.
            target: log-probabilities of each group at the drafts and one position behind them, a
                list of [batch, window + 1, vocab], given all drafts before them; of a tree, of
                what follows each of its entries. Of vectors, the `GaussianMixture` there.
            draws: random numbers for these positions in this round.
        """
        raise NotImplementedError


def matched(window: Window, tokens: Tensor) -> Tensor:
    """Which drafts are the tokens that stand there, bool [batch, window]; of equal siblings the
    first.

    Args:
        window: the drafts.
        tokens: see `Verdict`.
    """
    if window.tree is None:
        return (window.tokens == tokens[:, :-1]).all(-1)
    parents = window.tree.parents.expand(len(tokens), -1)
    found = (window.tokens == tokens.take_along_dim(parents.unsqueeze(-1), 1)).all(-1)
    siblings = (parents.unsqueeze(2) == parents.unsqueeze(1)).tril(-1)
    return found & ~(siblings & found.unsqueeze(1)).any(-1)


class Judgement(NamedTuple):
    """What `RejectionRule.judge` says of one group of the drafts.

    Attributes:
        keep: probability of keeping each draft, [batch, window], in [0, 1].
        instead: logits of the token in place of one that is not kept, [batch, window, vocab].
        excess: see `Verdict`.
        exact: of approximate rules, what an exact rule says of the same drafts.
    """

    keep: Tensor
    instead: Tensor
    excess: Tensor | None = None
    exact: "Judgement | None" = None


class RejectionRule(AcceptanceRule):
    """Base of rules that keep a draft with some probability and else draw another token.

    Each group of a token is judged separately; those that are kept stay, and the draft is kept if
    all are. The excesses of the groups add up.
    """

    def judge(self, p: Tensor, q: Tensor | None, x: Tensor, *, group: int) -> Judgement:
        """Judge one group.

        Args:
            p: log-probabilities of the target at the drafts, [batch, window, vocab].
            q: those that the drafts were drawn from; None as in `Window`.
            x: the drafts, int64 [batch, window].
            group: its number.
        """
        raise NotImplementedError

    def verify(self, window: Window, target: list[Tensor], draws: Draws) -> Verdict:
        """See `AcceptanceRule.verify`."""
        count = len(target)
        numbers, keys = deciding(draws, count)
        drafted: Sequence[Tensor | None] = window.log_probs or [None] * count
        found = [
            self.judge(p[:, :-1], q, x, group=group)
            for group, (p, q, x) in enumerate(
                zip(target, drafted, window.tokens.unbind(-1), strict=True)
            )
        ]
        last = [p[:, -1:] for p in target]
        others = _others(found, last, keys)
        kept, tokens = _decided(found, window.tokens, numbers, others)
        excess = [one.excess for one in found if one.excess is not None]
        if not excess:
            return Verdict(kept, tokens)
        exact = [one.exact for one in found if one.exact is not None]
        if any(one.instead is not right.instead for one, right in zip(found, exact, strict=True)):
            others = _others(exact, last, keys)
        _, redrawn = _decided(exact, window.tokens, numbers, others)
        return Verdict(kept, tokens, torch.stack(excess).sum(0), redrawn)


def deciding(draws: Draws, groups: int) -> tuple[Tensor, Tensor]:
    """What decides whether drafts are kept, float64 [batch, window, groups] in (0, 1), and keys of
    races for the tokens in their place and behind them, int64 [batch, window + 1, groups]."""
    numbers = draws.uniform(Role.ACCEPTANCE, groups)[:, :-1]
    # no draft of this round stands at the last position: its token may be that of `Sampler`
    plain = draws._replace(round=0).keys(Role.TOKEN, groups)[:, -1:]
    return numbers, torch.cat([draws.keys(Role.RESIDUAL, groups)[:, :-1], plain], dim=1)


def _others(judgements: list[Judgement], last: list[Tensor], keys: Tensor) -> Tensor:
    """Tokens in place of drafts, and the one behind them, [batch, window + 1, groups].

    Args:
        judgements: of each group.
        last: log-probabilities of the token behind the drafts, [batch, 1, vocab] of each group.
        keys: of the races, [batch, window + 1, groups].
    """
    pairs = zip(judgements, last, strict=True)
    return race([torch.cat([one.instead, p], dim=1) for one, p in pairs], keys)


def _decided(
    judgements: list[Judgement], drafts: Tensor, numbers: Tensor, others: Tensor
) -> tuple[Tensor, Tensor]:
    """Which drafts are kept, and what stands at each position; see `Verdict`.

    Args:
        judgements: of each group.
        drafts: [batch, window, groups].
        numbers: what decides whether a draft is kept, [batch, window, groups].
        others: see `_others`.
    """
    kept = numbers < torch.stack([one.keep for one in judgements], dim=-1)
    tokens = torch.where(kept, drafts, others[:, :-1])
    return kept.all(-1), torch.cat([tokens, others[:, -1:]], dim=1)


def ratio(p: Tensor, q: Tensor) -> Tensor:
    """min(1, p / q) of probabilities, and 1 where both are 0: what is kept of a draft from q."""
    return torch.where(p < q, p / q, 1.0)


def probability(log_probs: Tensor, ids: Tensor) -> Tensor:
    """Probability of ids [...], of log-probabilities [..., vocab]."""
    return log_probs.gather(-1, ids.unsqueeze(-1)).squeeze(-1).exp()


def residual(p: Tensor, q: Tensor) -> Tensor:
    """Logits of what p has more than q, [..., vocab]; of p itself where that is only rounding.

    Args:
        p, q: log-probabilities, [..., vocab].
    """
    excess = (p.exp() - q.exp()).clamp_min(0)
    return torch.where(excess.sum(-1, keepdim=True) > TINY, excess.log(), p)


def without(p: Tensor, ids: Tensor) -> Tensor:
    """Logits of p without an id, [..., vocab]; of p itself where nothing else is left.

    Args:
        p: log-probabilities, [..., vocab].
        ids: int64 [...].
    """
    rest = p.scatter(-1, ids.unsqueeze(-1), -torch.inf)
    return torch.where(rest.isneginf().all(-1, keepdim=True), p, rest)
