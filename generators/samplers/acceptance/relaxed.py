"""Approximate rules that need nothing but the two distributions.

What a rule costs follows from one identity: if it keeps a draft x with a probability a(x) that is
nowhere below min(1, p(x) / q(x)), and draws the others from the ordinary residual, the total
variation between its tokens and the target is the share of the drafts that it keeps, less the share
that an exact rule keeps. All such rules cost the same for the same number of tokens in a pass; they
differ in which tokens come too often.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from intaglio.generators.samplers.acceptance.base import (
    TINY,
    Judgement,
    RejectionRule,
    ratio,
    residual,
)


class TVBudget(RejectionRule):
    """Approximate: each token at most ``eps`` from the target, in total variation.

    The target is mixed with as much of the drafts' distribution as that allows, and drafts are
    judged exactly against the mixture. No rule keeps more of them for the same total variation.

    Args:
        eps: in [0, 1]; 0 is exact, 1 keeps every draft. Of a token of several groups that of each.

    Raises:
        ValueError: ``eps`` is out of range.
    """

    exact = False

    def __init__(self, eps: float = 0.05) -> None:
        if not 0 <= eps <= 1:
            raise ValueError(f"a total variation is 0 to 1, not {eps}")
        self.eps = eps

    def judge(self, p: Tensor, q: Tensor | None, x: Tensor, *, group: int) -> Judgement:
        """See `RejectionRule.judge`."""
        q = certain(p, x) if q is None else q
        target, drafted = p.exp(), q.exp()
        variation = (target - drafted).clamp_min(0).sum(-1)
        share = (self.eps / variation.clamp_min(TINY)).clamp_max(1)
        exact = exactly(p, q, x)
        keep = (1 - share) * exact.keep + share
        return Judgement(keep, exact.instead, share * variation, exact)


class Annealed(RejectionRule):
    """Approximate: a draft x is kept with probability min(1, w p(x) / q(x)), w >= 1.

    w is largest at the first draft of a window and falls along it: w = max(1, delta exp(-nu i)) at
    draft i, from 0 (Cool-SD). Its excess is the exact total variation.

    Args:
        delta: w of the first draft; 1 is exact, 1.1 to 2 are published.
        nu: how fast it falls; 0.7 is published, and 0 lets it stay.

    Raises:
        ValueError: ``delta`` is below 1, or ``nu`` below 0.
    """

    exact = False

    def __init__(self, delta: float = 1.1, nu: float = 0.7) -> None:
        if not delta >= 1 or not nu >= 0:
            raise ValueError(f"delta is 1 or more and nu 0 or more, not {delta} and {nu}")
        self.delta, self.nu = delta, nu

    def judge(self, p: Tensor, q: Tensor | None, x: Tensor, *, group: int) -> Judgement:
        """See `RejectionRule.judge`."""
        q = certain(p, x) if q is None else q
        target, drafted = p.exp(), q.exp()
        index = torch.arange(x.shape[1], device=x.device, dtype=p.dtype)
        weight = (self.delta * (-self.nu * index).exp()).clamp_min(1).unsqueeze(-1)
        keep = ratio(weight * target, drafted)
        excess = (drafted * (keep - ratio(target, drafted))).sum(-1)
        exact = exactly(p, q, x)
        return Judgement(at(keep, x), exact.instead, excess, exact)


def certain(p: Tensor, x: Tensor) -> Tensor:
    """Log-probabilities of which an id has all, in the shape of p.

    Args:
        p: [..., vocab].
        x: the ids, int64 [...].
    """
    return F.one_hot(x, p.shape[-1]).to(p.dtype).log()


def table_of(tables: list[Tensor], group: int, p: Tensor, *, dim: int = 0) -> Tensor:
    """What a rule knows of the ids of a group, which moves to the device of their
    log-probabilities and stays there.

    Args:
        tables: of all groups.
        group: its number.
        p: [..., vocab].
        dim: of the ids in a table.

    Raises:
        ValueError: it knows other ids.
    """
    known = tuple(one.shape[dim] for one in tables)
    if group >= len(known) or known[group] != p.shape[-1]:
        raise ValueError(
            f"the rule knows which of {known} ids are alike, and the generator draws group {group} "
            f"of a token out of {p.shape[-1]}"
        )
    tables[group] = tables[group].to(p.device)
    return tables[group]


def at(values: Tensor, ids: Tensor) -> Tensor:
    """Values [..., vocab] at ids [...]."""
    return values.gather(-1, ids.unsqueeze(-1)).squeeze(-1)


def exactly(p: Tensor, q: Tensor, x: Tensor) -> Judgement:
    """What an exact rule says; arguments as for `judged`."""
    return Judgement(ratio(at(p, x).exp(), at(q, x).exp()), residual(p, q))


def judged(p: Tensor, q: Tensor, x: Tensor, keep: Tensor) -> Judgement:
    """A judgement with the ordinary residual.

    Its excess is |keep - min(1, p(x) / q(x))|, whose mean bounds the total variation whatever
    ``keep`` is, and equals it if it is nowhere less than in an exact rule.

    Args:
        p, q: log-probabilities [batch, window, vocab].
        x: drafts, [batch, window].
        keep: probability of keeping them, [batch, window].
    """
    exact = exactly(p, q, x)
    return Judgement(keep, exact.instead, (keep - exact.keep).abs(), exact)
