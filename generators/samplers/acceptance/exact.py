"""Exact rules: every token has the distribution of the target."""

from collections.abc import Sequence

import torch
from torch import Tensor

from intaglio.generators.heads.independent import race
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.samplers.acceptance.base import (
    AcceptanceRule,
    Verdict,
    Window,
    matched,
    probability,
    residual,
    without,
)


class GumbelMatch(AcceptanceRule):
    """Exact: a draft is kept if it is the token that plain drawing would give from these numbers.

    Every token is the one that `Sampler` draws for the seed: pathwise equal, not only in
    distribution, however the drafts were made.
    """

    exact = takes_trees = True

    def verify(self, window: Window, target: list[Tensor], draws: Draws) -> Verdict:
        """See `AcceptanceRule.verify`; the numbers are those of no round."""
        keys = draws._replace(round=0).keys(Role.TOKEN, len(target))
        tokens = race(target, keys)
        return Verdict(matched(window, tokens), tokens)


class ModifiedRejection(AcceptanceRule):
    """Exact: a draft x is kept with probability min(1, p(x) / q(x)), else drawn from the residual.

    The residual is proportional to the positive part of p - q (Leviathan et al., 2023; Chen et al.,
    2023). A draft of unknown origin counts as the only one that could come, q(x) = 1. Each group of
    a token is judged separately; those that are kept stay, and the draft is kept if all are.
    """

    exact = True

    def verify(self, window: Window, target: list[Tensor], draws: Draws) -> Verdict:
        """See `AcceptanceRule.verify`."""
        numbers = draws.uniform(Role.ACCEPTANCE, len(target))[:, :-1].unbind(-1)
        kept, others = [], []
        laws: Sequence[Tensor | None] = window.log_probs or [None] * len(target)
        for p, q, x, number in zip(target, laws, window.tokens.unbind(-1), numbers, strict=True):
            here = p[:, :-1]
            drawn = 1.0 if q is None else probability(q, x)
            kept.append(number * drawn < probability(here, x))
            rest = without(here, x) if q is None else residual(here, q)
            others.append(torch.cat([rest, p[:, -1:]], dim=1))
        # no draft of this round stands at the last position: its token may be that of `Sampler`
        plain = draws._replace(round=0).keys(Role.TOKEN, len(target))[:, -1:]
        keys = torch.cat([draws.keys(Role.RESIDUAL, len(target))[:, :-1], plain], dim=1)
        instead = race(others, keys)
        keep = torch.stack(kept, dim=-1)
        tokens = torch.where(keep, window.tokens, instead[:, :-1])
        return Verdict(keep.all(-1), torch.cat([tokens, instead[:, -1:]], dim=1))
