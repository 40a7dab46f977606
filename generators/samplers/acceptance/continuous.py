"""Exact rules for vectors: drafts and target are normal distributions or mixtures of them.

All ratios of densities are differences of logarithms. With many channels or a small spread the
densities leave the range of a float, and two models agree hardly ever: of single Gaussians whose
means are d standard deviations apart, the share 2 * Phi(-d / 2) of the drafts is kept. A diffusion
head is such a Gaussian in its last step only, given the noise of the others, where that step adds
noise at all. As published it adds none, and no draft would be kept.
"""

import torch
from torch import Tensor

from intaglio.generators.heads.densities import GaussianMixture
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.samplers.acceptance.base import AcceptanceRule, Verdict, Window


class ContinuousRule(AcceptanceRule):
    """Exact: base of rules for vectors; they differ in how the residual is drawn."""

    exact = True
    takes_vectors = True

    def verify(self, window: Window, target: GaussianMixture, draws: Draws) -> Verdict:
        """See `AcceptanceRule.verify`; drafts of unknown origin are never kept."""
        here, last = (GaussianMixture(*(one[:, part] for one in target)) for part in PARTS)
        before, plain = (
            draws._replace(positions=draws.positions[:, part], round=number, ahead=None)
            for part, number in zip(PARTS, (draws.round, 0), strict=True)
        )
        bonus = last.sample(plain)  # as `Sampler` draws it: no draft of this round stands there
        if window.law is None:
            accepted = torch.zeros_like(window.tokens[..., 0], dtype=torch.bool)
            tokens = here.sample(before, Role.RESIDUAL)
        else:
            numbers = before.uniform(Role.ACCEPTANCE)[..., 0]
            accepted = numbers.log() < log_ratio(here, window.law, window.tokens)
            instead = self.instead(window.tokens, ~accepted, (here, window.law), before)
            tokens = torch.where(accepted.unsqueeze(-1), window.tokens, instead)
        return Verdict(accepted, torch.cat([tokens, bonus], dim=1))

    def instead(
        self,
        tokens: Tensor,
        rejected: Tensor,
        laws: tuple[GaussianMixture, GaussianMixture],
        draws: Draws,
    ) -> Tensor:
        """Tokens of the residual in place of the drafts that are rejected.

        Args:
            tokens: the drafts, float [batch, window, channels].
            rejected: bool [batch, window].
            laws: of target and drafts.
            draws: random numbers for these positions in this round.
        """
        raise NotImplementedError


PARTS = (slice(None, -1), slice(-1, None))


class MixtureRejection(ContinuousRule):
    """Exact: a draft x is kept with probability min(1, p(x) / q(x)), else drawn from the residual.

    Modified rejection sampling (Leviathan et al., 2023) for densities in closed form; the residual
    is drawn by rejection, too (Wang et al., 2024), for as long as it takes.
    """

    def instead(
        self,
        tokens: Tensor,
        rejected: Tensor,
        laws: tuple[GaussianMixture, GaussianMixture],
        draws: Draws,
    ) -> Tensor:
        """See `ContinuousRule.instead`."""
        return laws[0].residual(laws[1], rejected, draws)


class ReflectionCoupling(ContinuousRule):
    """Exact: for Gaussians of equal spread; a rejected draft is mirrored to the target's side.

    Drafts are kept as by `MixtureRejection`. The noise of one that is not is reflected at the plane
    between the means, and is then distributed as the residual (Bou-Rabee et al., 2020): no loop.

    Raises:
        ValueError: on use, target or draft is a mixture, or their spreads differ.
    """

    def instead(
        self,
        tokens: Tensor,
        rejected: Tensor,
        laws: tuple[GaussianMixture, GaussianMixture],
        draws: Draws,
    ) -> Tensor:
        """See `ContinuousRule.instead`."""
        p, q = laws
        if p.mean.shape[-2] != 1 or not torch.equal(p.log_std, q.log_std):
            raise ValueError(
                "reflection takes single Gaussians of equal spread, such as those of a "
                "GaussianHead with shared_variance; MixtureRejection takes all"
            )
        return reflected(p, q, tokens)


def log_ratio(p: GaussianMixture, q: GaussianMixture, tokens: Tensor) -> Tensor:
    """log p(x) - log q(x), [...], of tokens [..., channels]."""
    return p.log_prob(tokens) - q.log_prob(tokens)


def reflected(p: GaussianMixture, q: GaussianMixture, tokens: Tensor) -> Tensor:
    """Tokens [..., channels] of single Gaussians q, mirrored to those of p, of equal spread."""
    std = p.log_std[..., 0, :].exp()
    z = (tokens - q.mean[..., 0, :]) / std
    distance = (q.mean - p.mean)[..., 0, :] / std
    length = distance.norm(dim=-1, keepdim=True)
    direction = distance / length.clamp_min(torch.finfo(z.dtype).tiny)
    return p.mean[..., 0, :] + std * (z - 2 * (direction * z).sum(-1, keepdim=True) * direction)
