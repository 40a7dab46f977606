"""Normal distributions, and Student-t ones: normal with an uncertain mean and variance.

`EvidentialHead` is the Normal-Inverse-Gamma head of BELLE (2025), after Amini et al. (2020). Data
identify only its predictive distribution, not the three parameters of its spread separately, so
the head offers nothing else.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.layers.positions import at_least_float32
from intaglio.generators.conditioning.guidance import guided
from intaglio.generators.heads.base import Head, SamplingOptions
from intaglio.generators.heads.continuous import in_float32, tempered
from intaglio.generators.heads.densities import DensityHead, GaussianMixture
from intaglio.generators.heads.gamma import gamma_quantile
from intaglio.generators.inference.counter_rng import Draws, Role

FLOOR = 1e-6  # of variances and of their parameters


class GaussianHead(DensityHead):
    """Independent normal channels: a linear map to means and log-variances, initialised to zero.

    The variance is the exponential of its output plus a floor, so the initial distribution is
    standard normal. Guidance applies to the mean; the variance is the conditional one.

    Args:
        dim: size of a hidden vector.
        channels: of a token, standardised.
        floor: of the variance.
        shared_variance: whether a channel has the same variance everywhere, a parameter, and the
            linear map gives means only.

    Raises:
        ValueError: no channel, or a floor not above 0.
    """

    def __init__(
        self, dim: int, channels: int, *, floor: float = FLOOR, shared_variance: bool = False
    ) -> None:
        super().__init__()
        self.linear = zero_linear(dim, 1 if shared_variance else 2, channels)
        if floor <= 0:
            raise ValueError(f"the floor of a variance is above 0, got {floor}")
        self.dim, self.width, self.floor = dim, channels, floor
        self.raw_variance = nn.Parameter(torch.zeros(channels)) if shared_variance else None

    def mixture(self, hidden: Tensor) -> GaussianMixture:
        """One component; see `DensityHead.mixture`."""
        with in_float32(hidden):
            out = self.linear(at_least_float32(hidden)).unsqueeze(-2)
            if self.raw_variance is None:
                mean, raw = out.chunk(2, dim=-1)
            else:
                mean, raw = out, self.raw_variance.expand_as(out)
            weights = mean.new_zeros(mean.shape[:-1])
            return GaussianMixture(weights, mean, floored(raw, self.floor) / 2)


class Evidence(NamedTuple):
    """Parameters of a Normal-Inverse-Gamma distribution, float32 [..., channels] each.

    The variance is beta divided by a Gamma(alpha) variable; the mean is normal around the location
    with that variance divided by nu.
    """

    location: Tensor
    nu: Tensor
    alpha: Tensor
    beta: Tensor


class EvidentialHead(Head):
    """Independent Student-t channels: a linear map to four parameters each, initialised to zero.

    A channel has 2 * alpha degrees of freedom and the scale
    ``sqrt(beta * (1 + nu) / (nu * alpha))``; alpha is above 1, so that its variance is finite.
    Guidance applies to the location; the spread is the conditional one.

    Args:
        dim: size of a hidden vector.
        channels: of a token, standardised.
        penalty: weight, in the loss only, of the evidence for wrong locations,
            ``|token - location| * (2 * nu + alpha)``; 0.5 in BELLE.
        floor: of nu, beta and alpha - 1.

    Raises:
        ValueError: no channel, a negative penalty, or a floor not above 0.
    """

    tractable = True

    def __init__(
        self, dim: int, channels: int, *, penalty: float = 0.0, floor: float = FLOOR
    ) -> None:
        super().__init__()
        self.linear = zero_linear(dim, 4, channels)
        if penalty < 0 or floor <= 0:
            raise ValueError(f"a penalty from 0 and a floor above 0, got {penalty} and {floor}")
        self.dim, self.width = dim, channels
        self.penalty, self.floor = penalty, floor

    def distribution(self, hidden: Tensor) -> Evidence:
        """Parameters for [..., dim]."""
        with in_float32(hidden):
            location, *raw = self.linear(hidden.float()).chunk(4, dim=-1)
            nu, alpha, beta = (F.softplus(one) + self.floor for one in raw)
            return Evidence(location, nu, 1 + alpha, beta)

    def loss(self, hidden: Tensor, token: Tensor) -> Tensor:
        """Negative log-density and the penalty; see `Head.loss`."""
        parameters = self.distribution(hidden)
        loss = -_student_t(parameters, token.float()).sum(-1)
        if self.penalty:
            wrong = (token.float() - parameters.location).abs() * (
                2 * parameters.nu + parameters.alpha
            )
            loss = loss + self.penalty * wrong.sum(-1)
        return loss

    def log_prob(self, hidden: Tensor, token: Tensor) -> Tensor:
        """Summed over the channels; see `Head.log_prob`."""
        return _student_t(self.distribution(hidden), token.float()).sum(-1)

    def _draw(self, hidden: Tensor, draws: Draws, options: SamplingOptions) -> Tensor:
        """Draw a variance, then a mean, then the token; see `Head.sample`.

        The temperature scales the noise of mean and token, not the variance.
        """
        parameters = self.distribution(hidden)
        location = guided(
            parameters.location,
            None if options.null is None else self.distribution(options.null).location,
            options.scale,
        )
        precision = gamma_quantile(parameters.alpha, draws.uniform(Role.TOKEN, self.width))
        scale = (parameters.beta / precision.float()).sqrt()
        noise = tempered(draws.normal(Role.NOISE, 2 * self.width), options.warp)
        mean = location + scale / parameters.nu.sqrt() * noise[..., : self.width]
        return mean + scale * noise[..., self.width :]


def _student_t(parameters: Evidence, token: Tensor) -> Tensor:
    """Log-density of each channel, computed without differences of large terms."""
    omega = 2 * parameters.beta * (1 + parameters.nu)
    square = parameters.nu * (token - parameters.location) ** 2 / omega
    gammas = torch.lgamma(parameters.alpha + 0.5) - torch.lgamma(parameters.alpha)
    constant = (parameters.nu / (math.pi * omega)).log() / 2
    return gammas + constant - (parameters.alpha + 0.5) * square.log1p()


def floored(raw: Tensor, floor: float) -> Tensor:
    """Log-variance: the variance is the exponential of an output plus a floor."""
    return torch.logaddexp(raw, raw.new_tensor(math.log(floor)))


def zero_linear(dim: int, values: int, channels: int) -> nn.Linear:
    """A linear map to some values of each channel, initialised to zero."""
    if channels < 1:
        raise ValueError(f"a continuous token has at least 1 channel, got {channels}")
    linear = nn.Linear(dim, values * channels)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
