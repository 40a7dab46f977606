"""A normal law, and a Student-t law as a normal law of unknown mean and variance.

`EvidentialHead` is the Normal-Inverse-Gamma head of BELLE (2025), after Amini et al. (2020). Data
identify only its predictive law, not its three parameters of spread one by one, so nothing else is
offered.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.generators.conditioning.guidance import guided
from intaglio.generators.heads.base import Head, Steering
from intaglio.generators.heads.continuous import in_float32, tempered
from intaglio.generators.heads.gamma import gamma_quantile
from intaglio.generators.inference.counter_rng import Draws, Role

FLOOR = 1e-6  # of a variance, and of the parameters of one


class GaussianHead(Head):
    """Independent normal channels: a linear map to means and log-variances, zero at the start.

    The variance is the exponential of its output plus a floor, so the first law is the standard
    normal one. Guidance acts on the mean; the variance is that under the condition.

    Args:
        dim: size of a hidden vector.
        channels: of a token, standardised.
        floor: of the variance.

    Raises:
        ValueError: no channel, or a floor not above 0.
    """

    tractable = True

    def __init__(self, dim: int, channels: int, *, floor: float = FLOOR) -> None:
        super().__init__()
        self.linear = _zero_linear(dim, 2, channels)
        if floor <= 0:
            raise ValueError(f"the floor of a variance is above 0, got {floor}")
        self.dim, self.width, self.floor = dim, channels, floor

    def law(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, float32 [..., channels] each, for [..., dim]."""
        with in_float32(hidden):
            mean, raw = self.linear(hidden.float()).chunk(2, dim=-1)
            return mean, torch.logaddexp(raw, raw.new_tensor(math.log(self.floor)))

    def loss(self, hidden: Tensor, token: Tensor) -> Tensor:
        """Negative log-density; see `Head.loss`."""
        return -self.log_prob(hidden, token)

    def log_prob(self, hidden: Tensor, token: Tensor) -> Tensor:
        """Sum over the channels; see `Head.log_prob`."""
        mean, log_variance = self.law(hidden)
        square = (token.float() - mean) ** 2 * (-log_variance).exp()
        return -(square + log_variance + math.log(2 * math.pi)).sum(-1) / 2

    def _draw(self, hidden: Tensor, draws: Draws, how: Steering) -> Tensor:
        """Mean plus noise; see `Head.sample`."""
        mean, log_variance = self.law(hidden)
        mean = guided(mean, None if how.null is None else self.law(how.null)[0], how.scale)
        noise = tempered(draws.normal(Role.NOISE, self.width), how.warp)
        return mean + (log_variance / 2).exp() * noise


class Evidence(NamedTuple):
    """Parameters of a Normal-Inverse-Gamma law, float32 [..., channels] each.

    The variance is beta over a Gamma(alpha) number, the mean normal around the location with the
    variance over nu.
    """

    location: Tensor
    nu: Tensor
    alpha: Tensor
    beta: Tensor


class EvidentialHead(Head):
    """Independent Student-t channels: a linear map to four parameters each, zero at the start.

    A channel has 2 * alpha degrees of freedom and the scale
    ``sqrt(beta * (1 + nu) / (nu * alpha))``; alpha is above 1, so that its variance is finite.
    Guidance acts on the location; the spread is that under the condition.

    Args:
        dim: size of a hidden vector.
        channels: of a token, standardised.
        penalty: weight, in the loss only, of the evidence of wrong locations,
            ``|token - location| * (2 * nu + alpha)``; 0.5 in BELLE.
        floor: of the parameters of spread, and of alpha above 1.

    Raises:
        ValueError: no channel, a negative penalty, or a floor not above 0.
    """

    tractable = True

    def __init__(
        self, dim: int, channels: int, *, penalty: float = 0.0, floor: float = FLOOR
    ) -> None:
        super().__init__()
        self.linear = _zero_linear(dim, 4, channels)
        if penalty < 0 or floor <= 0:
            raise ValueError(f"a penalty from 0 and a floor above 0, got {penalty} and {floor}")
        self.dim, self.width = dim, channels
        self.penalty, self.floor = penalty, floor

    def law(self, hidden: Tensor) -> Evidence:
        """Parameters for [..., dim]."""
        with in_float32(hidden):
            location, *raw = self.linear(hidden.float()).chunk(4, dim=-1)
            nu, alpha, beta = (F.softplus(one) + self.floor for one in raw)
            return Evidence(location, nu, 1 + alpha, beta)

    def loss(self, hidden: Tensor, token: Tensor) -> Tensor:
        """Negative log-density and the penalty; see `Head.loss`."""
        law = self.law(hidden)
        loss = -_student_t(law, token.float()).sum(-1)
        if self.penalty:
            wrong = (token.float() - law.location).abs() * (2 * law.nu + law.alpha)
            loss = loss + self.penalty * wrong.sum(-1)
        return loss

    def log_prob(self, hidden: Tensor, token: Tensor) -> Tensor:
        """Sum over the channels; see `Head.log_prob`."""
        return _student_t(self.law(hidden), token.float()).sum(-1)

    def _draw(self, hidden: Tensor, draws: Draws, how: Steering) -> Tensor:
        """Draw a variance, with it a mean, with both the token; see `Head.sample`.

        The temperature scales the noise of mean and token, not the law of the variance.
        """
        law = self.law(hidden)
        location = guided(
            law.location, None if how.null is None else self.law(how.null).location, how.scale
        )
        precision = gamma_quantile(law.alpha, draws.uniform(Role.TOKEN, self.width))
        scale = (law.beta / precision.float()).sqrt()
        noise = tempered(draws.normal(Role.NOISE, 2 * self.width), how.warp)
        mean = location + scale / law.nu.sqrt() * noise[..., : self.width]
        return mean + scale * noise[..., self.width :]


def _student_t(law: Evidence, token: Tensor) -> Tensor:
    """Log-density of each channel, without differences of large terms."""
    omega = 2 * law.beta * (1 + law.nu)
    square = law.nu * (token - law.location) ** 2 / omega
    gammas = torch.lgamma(law.alpha + 0.5) - torch.lgamma(law.alpha)
    constant = (law.nu / (math.pi * omega)).log() / 2
    return gammas + constant - (law.alpha + 0.5) * square.log1p()


def _zero_linear(dim: int, values: int, channels: int) -> nn.Linear:
    """Some values of every channel, zero at the start."""
    if channels < 1:
        raise ValueError(f"a continuous token has at least 1 channel, got {channels}")
    linear = nn.Linear(dim, values * channels)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
