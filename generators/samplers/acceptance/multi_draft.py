"""Exact rules for several drafts of one token: trees, of which a chain is the narrowest.

What a rule emits may be any of the siblings, drawn as their replacement or not: what was drafted
behind that one did not depend on the decision, and is judged next.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.generators.heads.independent import race
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.samplers.acceptance.base import (
    TINY,
    AcceptanceRule,
    Verdict,
    Window,
    matched,
    probability,
    residual,
)

HALVINGS = 24  # of the interval in which k-SEQ's factor lies


class Sibling(NamedTuple):
    """The i-th draft that follows each entry of a window, where there is one.

    Attributes:
        exists: bool [batch, window + 1].
        ids: int64 [batch, window + 1], of a group.
        law: log-probabilities that it was drawn from, [batch, window + 1, vocab].
        numbers: random, float64 [batch, window + 1].
    """

    exists: Tensor
    ids: Tensor
    law: Tensor
    numbers: Tensor


class Judged(NamedTuple):
    """What stands behind each entry.

    Attributes:
        kept: bool [batch, window + 1], whether a sibling is.
        ids: int64 [batch, window + 1], of that sibling.
        rest: logits of what is drawn from if none is, [batch, window + 1, vocab].
    """

    kept: Tensor
    ids: Tensor
    rest: Tensor


class SampleMatch(AcceptanceRule):
    """Exact: a token is drawn from the target, and a draft is kept if it is that token.

    The rule for drafts that were chosen, not drawn, such as the likeliest ids of a table: a token
    is kept with the probability that the target gives to all its drafts. For drafts that were
    drawn it is exact as well, and keeps fewer of them than rules that know their distribution.
    """

    exact = takes_trees = True

    def verify(self, window: Window, target: list[Tensor], draws: Draws) -> Verdict:
        """See `AcceptanceRule.verify`."""
        tokens = _drawn(target, window, draws)
        return Verdict(matched(window, tokens), tokens)


class SiblingRule(AcceptanceRule):
    """Base of rules that judge siblings one after the other, each group of a token separately."""

    takes_trees = True

    def verify(self, window: Window, target: list[Tensor], draws: Draws) -> Verdict:
        """See `AcceptanceRule.verify`."""
        if window.log_probs is None:
            return SampleMatch().verify(window, target, draws)
        judged = [
            self.judge(p, siblings)
            for p, siblings in zip(target, _siblings(window, window.log_probs, draws), strict=True)
        ]
        instead = _drawn([one.rest for one in judged], window, draws)
        kept, ids = (torch.stack(every, -1) for every in list(zip(*judged, strict=True))[:2])
        tokens = torch.where(kept, ids, instead)
        return Verdict(matched(window, tokens), tokens)

    def judge(self, p: Tensor, siblings: list[Sibling]) -> Judged:
        """Judge what follows each entry, in one group.

        Args:
            p: log-probabilities of the target, [batch, window + 1, vocab].
            siblings: in the order in which they were drawn; one at least.
        """
        raise NotImplementedError


class RecursiveRejection(SiblingRule):
    """Exact: siblings are judged one after the other, each by what its elders left of the target.

    A draft x is kept with probability min(1, p(x) / q(x)); if it is not, p becomes the residual of
    p and q for the next sibling, and what is left behind the last one is drawn from. q is the
    distribution that this sibling was drawn from, given those before it: without replacement in
    Recursive Speculative Decoding (Jeon et al., 2024), or with. Of one sibling it is
    `ModifiedRejection`.
    """

    exact = True

    def judge(self, p: Tensor, siblings: list[Sibling]) -> Judged:
        """See `SiblingRule.judge`."""
        ids = torch.zeros_like(siblings[0].ids)
        done = torch.zeros_like(ids, dtype=torch.bool)
        for one in siblings:
            asked = one.exists & ~done
            kept = asked & (one.numbers * probability(one.law, one.ids) < probability(p, one.ids))
            ids, done = torch.where(kept, one.ids, ids), done | kept
            rest = residual(p, one.law).log_softmax(-1)
            p = torch.where((asked & ~kept).unsqueeze(-1), rest, p)
        return Judged(done, ids, p)


class KSeq(SiblingRule):
    """Exact: of k siblings drawn independently from q, the first that passes a test is kept.

    SpecTr (Sun et al., 2023): a draft x is kept with probability min(1, p(x) / (r q(x))), with the
    smallest factor r between 1 and k for which a residual remains that makes up for it; that is
    drawn from if none is kept. Within 1 - 1/e of the most that k drafts can achieve. Of one sibling
    it is `ModifiedRejection`.
    """

    exact = True

    def verify(self, window: Window, target: list[Tensor], draws: Draws) -> Verdict:
        """See `AcceptanceRule.verify`.

        Raises:
            ValueError: siblings were not drawn independently.
        """
        drawn = window.log_probs is not None or not window.tokens.shape[1]
        if not drawn or (window.tree and not window.tree.independent):
            raise ValueError(
                "k-SEQ takes drafts that were drawn independently of their siblings, with "
                "replacement"
            )
        return super().verify(window, target, draws)

    def judge(self, p: Tensor, siblings: list[Sibling]) -> Judged:
        """See `SiblingRule.judge`."""
        count = torch.stack([one.exists for one in siblings]).sum(0)
        target, drafted = p.exp(), siblings[0].law.exp()
        factor = sequential_factor(target, drafted, count)
        ids = torch.zeros_like(siblings[0].ids)
        done = torch.zeros_like(ids, dtype=torch.bool)
        for one in siblings:
            least = one.numbers * factor * probability(one.law, one.ids)
            kept = one.exists & ~done & (least < probability(p, one.ids))
            ids, done = torch.where(kept, one.ids, ids), done | kept
        return Judged(done, ids, sequential_residual(target, drafted, count, factor))


def sequential_factor(p: Tensor, q: Tensor, count: Tensor) -> Tensor:
    """k-SEQ's factor r, [...]: the smallest that leaves a residual, from above.

    Args:
        p, q: probabilities, [..., vocab].
        count: of the siblings, int64 [...].
    """
    low = torch.ones_like(p[..., 0])
    high = count.clamp_min(1).to(p)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        one = torch.minimum(q, p / middle.unsqueeze(-1)).sum(-1)
        fits = 1 - (1 - one).pow(count) <= middle * one
        low, high = torch.where(fits, low, middle), torch.where(fits, middle, high)
    return high


def sequential_residual(p: Tensor, q: Tensor, count: Tensor, factor: Tensor) -> Tensor:
    """Logits of what k-SEQ draws if no sibling is kept, [..., vocab]; arguments as above."""
    kept = torch.minimum(q, p / factor.unsqueeze(-1))
    one = kept.sum(-1)
    tries = torch.where(one > TINY, (1 - (1 - one).pow(count)) / one.clamp_min(TINY), count)
    rest = (p - kept * tries.unsqueeze(-1)).clamp_min(0)
    return torch.where(rest.sum(-1, keepdim=True) > TINY, rest, p).log()


def _siblings(window: Window, laws: list[Tensor], draws: Draws) -> Iterator[list[Sibling]]:
    """Of each group the siblings that follow each entry."""
    count = window.tokens.shape[1]
    if window.tree is None:
        children = torch.arange(count + 1, device=window.tokens.device).view(1, -1, 1)
    else:
        children = window.tree.children
    children = children.expand(len(window.tokens), -1, -1)
    numbers = draws.uniform(Role.ACCEPTANCE, len(laws) * children.shape[-1])
    lanes_of_groups = numbers.unflatten(-1, (len(laws), -1)).unbind(-2)
    for ids, every, lanes in zip(window.tokens.unbind(-1), laws, lanes_of_groups, strict=True):
        siblings = []
        for child, number in zip(children.unbind(-1), lanes.unbind(-1), strict=True):
            index = child.clamp_max(count - 1)
            law = every.take_along_dim(index.unsqueeze(-1), 1)
            siblings.append(Sibling(child < count, ids.gather(1, index), law, number))
        yield siblings


def _drawn(logits: list[Tensor], window: Window, draws: Draws) -> Tensor:
    """A token behind each entry, int64 [batch, window + 1, groups]."""
    keys = draws.keys(Role.RESIDUAL, len(logits))
    # behind the last of a chain no draft of this round stands: `Sampler` may draw the same there
    plain = draws._replace(round=0).keys(Role.TOKEN, len(logits))
    count = window.tokens.shape[1]
    if window.tree is None:
        last = torch.arange(count + 1, device=keys.device).unsqueeze(0) == count
    else:
        last = window.tree.children[..., 0] == count
    return race(logits, torch.where(last.unsqueeze(-1), plain, keys))
