"""Which drafted tokens are kept, and what stands in place of the first that is not.

Exact rules give every token the distribution that the target has there, whatever was drafted.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.generators.heads.independent import race
from intaglio.generators.inference.counter_rng import Draws, Role

TINY = 1e-30  # total of a residual below which it is rounding alone


class Window(NamedTuple):
    """Drafted tokens of each item, behind those that are certain.

    Attributes:
        tokens: int64 [batch, window, groups].
        log_probs: of each group [batch, window, vocab]: the distribution that the tokens were
            really drawn from, given all that stood before them.
    """

    tokens: Tensor
    log_probs: list[Tensor]


class Verdict(NamedTuple):
    """What becomes of a window.

    Attributes:
        accepted: bool [batch, window], whether a draft is kept if all before it are.
        tokens: int64 [batch, window + 1, groups], what stands at each position if all drafts
            before it are kept: the draft, its replacement, or, at the last one, a further token.
    """

    accepted: Tensor
    tokens: Tensor


class AcceptanceRule:
    """Base of rules.

    Attributes:
        exact: whether the tokens have the distribution of the target.
    """

    exact: bool

    def verify(self, window: Window, target: list[Tensor], draws: Draws) -> Verdict:
        """Judge a window.

        Args:
            window: the drafts.
            target: log-probabilities of each group at the drafts and one position behind them,
                [batch, window + 1, vocab], given all drafts before them.
            draws: random numbers for these positions in this round.
        """
        raise NotImplementedError


class GumbelMatch(AcceptanceRule):
    """Exact: a draft is kept if it is the token that plain drawing would give from these numbers.

    Every token is the one that `Sampler` draws for the seed: pathwise equal, not only in
    distribution, however the drafts were made.
    """

    exact = True

    def verify(self, window: Window, target: list[Tensor], draws: Draws) -> Verdict:
        """See `AcceptanceRule.verify`; the numbers are those of no round."""
        keys = draws._replace(round=0).keys(Role.TOKEN, len(target))
        tokens = race(target, keys)
        return Verdict((tokens[:, :-1] == window.tokens).all(-1), tokens)


class ModifiedRejection(AcceptanceRule):
    """Exact: a draft x is kept with probability min(1, p(x) / q(x)), else drawn from the residual.

    The residual is proportional to the positive part of p - q (Leviathan et al., 2023; Chen et al.,
    2023). Each group of a token is judged separately; those that are kept stay, and the draft is
    kept if all are.
    """

    exact = True

    def verify(self, window: Window, target: list[Tensor], draws: Draws) -> Verdict:
        """See `AcceptanceRule.verify`."""
        numbers = draws.uniform(Role.ACCEPTANCE, len(target))[:, :-1].unbind(-1)
        kept, others = [], []
        for p, q, x, number in zip(
            target, window.log_probs, window.tokens.unbind(-1), numbers, strict=True
        ):
            here = p[:, :-1]
            kept.append(number * probability(q, x) < probability(here, x))
            others.append(torch.cat([residual(here, q), p[:, -1:]], dim=1))
        # no draft of this round stands at the last position: its token may be that of `Sampler`
        plain = draws._replace(round=0).keys(Role.TOKEN, len(target))[:, -1:]
        keys = torch.cat([draws.keys(Role.RESIDUAL, len(target))[:, :-1], plain], dim=1)
        instead = race(others, keys)
        keep = torch.stack(kept, dim=-1)
        tokens = torch.where(keep, window.tokens, instead[:, :-1])
        return Verdict(keep.all(-1), torch.cat([tokens, instead[:, -1:]], dim=1))


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
