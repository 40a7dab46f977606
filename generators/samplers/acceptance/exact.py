"""Exact rules: every token has the distribution of the target."""

from torch import Tensor

from intaglio.generators.heads.independent import drawn
from intaglio.generators.inference.counter_rng import Draws
from intaglio.generators.inference.kernels.drawing import is_fused
from intaglio.generators.samplers.acceptance.base import (
    TINY,
    AcceptanceRule,
    Judgement,
    RejectionRule,
    Verdict,
    Window,
    deciding,
    matched,
    probability,
    ratio,
    residual,
    without,
)


class GumbelMatch(AcceptanceRule):
    """Exact: a draft is kept if it is the token that plain drawing would give from these numbers.

    Every token is the one that `Sampler` draws for the seed: pathwise equal, not only in
    distribution, however the drafts were made.
    """

    exact = takes_trees = pathwise = True

    def verify(self, window: Window, target: list[Tensor], draws: Draws) -> Verdict:
        """See `AcceptanceRule.verify`; the numbers are those of no round."""
        tokens = drawn(target, draws._replace(round=0))
        return Verdict(matched(window, tokens), tokens)


class ModifiedRejection(RejectionRule):
    """Exact: a draft x is kept with probability min(1, p(x) / q(x)), else drawn from the residual.

    The residual is proportional to the positive part of p - q (Leviathan et al., 2023; Chen et al.,
    2023). A draft of unknown origin counts as the only one that could come, q(x) = 1. Each group of
    a token is judged separately; those that are kept stay, and the draft is kept if all are.
    """

    exact = True

    def verify(self, window: Window, target: list[Tensor], draws: Draws) -> Verdict:
        """See `AcceptanceRule.verify`."""
        if not is_fused(draws.seeds.device, *(one.shape[-1] for one in target)):
            return super().verify(window, target, draws)
        from intaglio.generators.inference.kernels import rejection

        numbers, keys = deciding(draws, len(target))
        p, q = target, window.log_probs
        return Verdict(*rejection.verify(p, q, window.tokens, numbers, keys, tiny=TINY))

    def judge(self, p: Tensor, q: Tensor | None, x: Tensor, *, group: int) -> Judgement:
        """See `RejectionRule.judge`."""
        if q is None:
            return Judgement(probability(p, x), without(p, x))
        return Judgement(ratio(probability(p, x), probability(q, x)), residual(p, q))
