"""Approximate rules that compare groups of tokens which look or sound alike, not single tokens."""

from collections.abc import Sequence
from math import inf, log

import torch
from torch import Tensor

from intaglio.generators.inference.kernels.drawing import is_fused
from intaglio.generators.samplers.acceptance.base import Judgement, RejectionRule, ratio
from intaglio.generators.samplers.acceptance.relaxed import at, certain, exactly, judged, table_of


class Grouped(RejectionRule):
    """Approximate: a draft is kept as far as the target has as much of its group as the drafts.

    The group of a draft are the tokens whose rank in the target is nearest to its own, if their
    codes and probabilities are near as well (Grouped Speculative Decoding, GSD). As published, the
    rule keeps some drafts less often than an exact one would, and so pays more than it gains;
    corrected (GSD+), it keeps each draft at least as often as an exact rule, for the same or less
    total variation. The mean excess is the total variation of GSD+, and a bound of it for GSD.

    Args:
        codes: vectors of the ids of each group of a token, [vocab, dim]; see `code_vectors`.
        size: tokens of a group, with the draft; 3 to 50 are published.
        distance: Euclidean, between the codes of a group, at most.
        difference: between their probabilities, at most; 0.15 is published.
        corrected: whether to keep a draft at least as often as an exact rule.
        band: in place of ranks, and so of a sort: tokens of a group have at most so many times the
            probability of the draft, and at least its ``1 / band``, however many they are.

    Raises:
        ValueError: there is no token in a group.
    """

    exact = False

    def __init__(
        self,
        codes: Sequence[Tensor],
        *,
        size: int = 10,
        distance: float = inf,
        difference: float = 0.15,
        corrected: bool = True,
        band: float | None = None,
    ) -> None:
        if band is not None and not band >= 1:
            raise ValueError(f"a band of probabilities is 1 or more, not {band}")
        if size < 1 or not distance >= 0 or not difference >= 0:
            raise ValueError(
                f"a group has 1 or more tokens, and bounds are 0 or more, not {size}, {distance} "
                f"and {difference}"
            )
        self.codes, self.size, self.corrected = list(codes), size, corrected
        self.distance, self.difference, self.band = distance, difference, band

    def judge(self, p: Tensor, q: Tensor | None, x: Tensor, *, group: int) -> Judgement:
        """See `RejectionRule.judge`."""
        q = certain(p, x) if q is None else q
        of_both = (
            self._by_rank(p, q, x, group) if self.band is None else self._by_band(p, q, x, group)
        )
        keep = ratio(*of_both)
        if self.corrected:
            keep = torch.maximum(keep, exactly(p, q, x).keep)
        return judged(p, q, x, keep)

    def _by_rank(self, p: Tensor, q: Tensor, x: Tensor, group: int) -> tuple[Tensor, Tensor]:
        """What the target and the drafts have of the group of each draft, [batch, window]."""
        order = p.argsort(dim=-1, descending=True, stable=True)
        rank = (order == x.unsqueeze(-1)).long().argmax(-1)
        size = min(self.size, p.shape[-1])
        start = (rank - size // 2).clamp(0, p.shape[-1] - size).unsqueeze(-1)
        members = order.gather(-1, start + torch.arange(size, device=x.device))
        target, drafted = p.gather(-1, members).exp(), q.gather(-1, members).exp()
        near = (target - at(p, x).exp().unsqueeze(-1)).abs() <= self.difference
        if self.distance < inf:
            codes = table_of(self.codes, group, p)
            apart = (codes[members] - codes[x].unsqueeze(-2)).norm(dim=-1)
            near &= apart <= self.distance
        return (target * near).sum(-1), (drafted * near).sum(-1)

    def _by_band(self, p: Tensor, q: Tensor, x: Tensor, group: int) -> tuple[Tensor, Tensor]:
        """The same of groups by probability; on CUDA in one kernel."""
        assert self.band is not None
        codes = table_of(self.codes, group, p) if self.distance < inf else None
        if is_fused(p.device, p.shape[-1]):
            from intaglio.generators.inference.kernels import bands

            return bands.masses(
                p,
                q,
                x,
                band=log(self.band),
                difference=self.difference,
                distance=self.distance,
                codes=codes,
            )
        target, here = p.exp(), at(p, x).unsqueeze(-1)
        near = (p - here).abs() <= log(self.band)
        near |= torch.arange(p.shape[-1], device=x.device) == x.unsqueeze(-1)  # if p has none of it
        near &= (target - here.exp()).abs() <= self.difference
        if codes is not None:  # without a product of matrices, by which an id is not at 0 of itself
            exactly_apart = "donot_use_mm_for_euclid_dist"
            near &= torch.cdist(codes[x], codes, compute_mode=exactly_apart) <= self.distance
        return (target * near).sum(-1), (q.exp() * near).sum(-1)


class CoarseGrained(RejectionRule):
    """Approximate: exact for the group of one step; within an accepted group the drafts decide.

    A draft belongs to one group, or to several in shares. It is kept as far as the target has as
    much of them as the drafts; else a group is drawn from the residual of the groups, and from it a
    token of the target. With groups that overlap this is PCG (principled coarse-grained
    acceptance), for acoustic tokens; with disjoint ones, GSD-C. What follows a token depends on the
    token, so that the groups of a sequence are not exact. The excess is the exact total variation.

    Args:
        weights: share of each group in the ids of each group of a token, [groups, vocab]; those of
            an id add up to 1. See `partition` and `overlapping`.

    Raises:
        ValueError: the shares of an id are negative or do not add up to 1.
    """

    exact = False

    def __init__(self, weights: Sequence[Tensor]) -> None:
        for one in weights:
            total = one.double().sum(0)
            if bool((one < 0).any()) or not torch.allclose(total, torch.ones_like(total)):
                raise ValueError("the shares of an id in its groups are 0 or more and add up to 1")
        self.weights = list(weights)

    def judge(self, p: Tensor, q: Tensor | None, x: Tensor, *, group: int) -> Judgement:
        """See `RejectionRule.judge`."""
        q = certain(p, x) if q is None else q
        target, drafted = p.exp(), q.exp()
        weights = table_of(self.weights, group, p, dim=1).to(p.dtype)
        of_target, of_drafts = target @ weights.T, drafted @ weights.T
        keep = ratio(of_target, of_drafts) @ weights
        missing = (1 - ratio(of_drafts, of_target)) @ weights  # share of p(x) that is still due
        due = target * missing
        instead = torch.where(due.sum(-1, keepdim=True) > 0, due.log(), p)
        excess = (drafted * keep + due - target).abs().sum(-1) / 2
        return Judgement(at(keep, x), instead, excess, exactly(p, q, x))
