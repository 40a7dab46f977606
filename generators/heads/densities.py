"""Distributions of vectors in closed form, and the heads that have one.

Truncation has no meaning for vectors; guidance and temperature apply here and nowhere else.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.codecs.layers.positions import at_least_float32
from intaglio.generators.conditioning.guidance import guided
from intaglio.generators.heads.base import Head, SamplingOptions
from intaglio.generators.heads.continuous import in_float32
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.inference.logits import Warp

FIRST_TRIES, MOST_TRIES = 8, 1 << 20  # candidates for a draw from a residual


class GaussianMixture(NamedTuple):
    """Mixtures of normal distributions with independent channels; of one component, a Gaussian.

    Attributes:
        log_weights: of the components, normalised, float [..., components].
        mean: float [..., components, channels].
        log_std: of the same shape.
    """

    log_weights: Tensor
    mean: Tensor
    log_std: Tensor

    def log_prob(self, tokens: Tensor) -> Tensor:
        """Log-density in nats, [...], of tokens [..., channels]."""
        z = (tokens.unsqueeze(-2) - self.mean) * (-self.log_std).exp()
        each = -(z.square() / 2 + self.log_std + math.log(2 * math.pi) / 2).sum(-1)
        return (self.log_weights + each).logsumexp(-1)

    def sample(self, draws: Draws, role: Role = Role.NOISE) -> Tensor:
        """A token of each distribution, [batch, positions, channels].

        Args:
            draws: random numbers for these positions.
            role: of the numbers that are used.
        """
        components, channels = self.mean.shape[-2:]
        uniform = draws.uniform(role, channels + (components > 1))
        return self.point(uniform[..., :channels], uniform[..., channels:])

    def point(self, noise: Tensor, choice: Tensor) -> Tensor:
        """Tokens made of uniform numbers, [..., channels].

        Args:
            noise: float64 [..., channels], in (0, 1).
            choice: of the component, float64 [..., 1], in (0, 1); empty of a single Gaussian.
        """
        normal = torch.special.ndtri(noise).to(self.mean.dtype)
        if self.mean.shape[-2] == 1:
            return self.mean[..., 0, :] + self.log_std[..., 0, :].exp() * normal
        below = self.log_weights.double().exp().cumsum(-1)[..., :-1] < choice
        index = below.sum(-1)[..., None, None]
        shape = (*index.shape[:-2], *self.mean.shape[-2:])
        mean, log_std = (
            one.expand(shape).take_along_dim(index, -2)[..., 0, :]
            for one in (self.mean, self.log_std)
        )
        return mean + log_std.exp() * normal

    def residual(self, other: "GaussianMixture", wanted: Tensor, draws: Draws) -> Tensor:
        """Tokens where this density is above another, in proportion to the difference.

        Candidates from this distribution are taken with probability 1 - other / this. It takes one
        over the total variation on average; where that is less than rounding, which no number of
        tries below `MOST_TRIES` tells from 0, the token is one of this distribution itself.

        Args:
            other: of the same batch and positions.
            wanted: bool [batch, positions], which tokens are needed; the others are 0.
            draws: random numbers for these positions.

        Returns:
            [batch, positions, channels].
        """
        found = self.mean.new_zeros(*wanted.shape, self.mean.shape[-1])
        rows, columns = wanted.nonzero(as_tuple=True)
        tried, count = 0, FIRST_TRIES
        while len(rows):
            here, there = (law.at(rows, columns) for law in (self, other))
            positions = draws.positions.expand(len(draws.seeds), -1)[rows, columns]
            number = draws.round if isinstance(draws.round, int) else draws.round[rows]
            few = Draws(draws.seeds[rows], positions.unsqueeze(1), number)
            tokens, taken = here._tries(there, few, tried, count)
            tried, count = tried + count, 2 * count
            hit = taken.any(1) if tried < MOST_TRIES else torch.ones_like(taken[:, 0])
            first = taken.int().argmax(1)[hit]
            found[rows[hit], columns[hit]] = tokens[hit, first]
            rows, columns = rows[~hit], columns[~hit]
        return found

    def _tries(
        self, other: "GaussianMixture", draws: Draws, first: int, count: int
    ) -> tuple[Tensor, Tensor]:
        """Candidates [rows, count, channels], and which of them are taken; of one position each."""
        channels = self.mean.shape[-1]
        each = channels + 2
        numbers = draws.uniform(Role.RESIDUAL, count * each, first=first * each)
        numbers = numbers[:, 0].unflatten(1, (count, each))
        tokens = self.point(numbers[..., :channels], numbers[..., channels : channels + 1])
        share = -torch.expm1(other.log_prob(tokens) - self.log_prob(tokens))
        return tokens, numbers[..., -1] < share

    def at(self, rows: Tensor, columns: Tensor) -> "GaussianMixture":
        """The distributions of some places, each as a row of one position.

        Args:
            rows, columns: int64 [count], into batch and positions.
        """
        return GaussianMixture(*(one[rows, columns].unsqueeze(1) for one in self))


class DensityHead(Head):
    """Base of heads whose tokens are vectors of a distribution in closed form."""

    tractable = True

    def mixture(self, hidden: Tensor) -> GaussianMixture:
        """Distributions without guidance, float32 at least, of [..., dim]."""
        raise NotImplementedError

    def distribution(self, hidden: Tensor, options: SamplingOptions) -> GaussianMixture:
        """What `sample` draws from.

        Guidance moves the means, and the logarithms of the weights, of each component; the spread
        is the conditional one, times the temperature.

        Args:
            hidden: [batch, positions, dim].
            options: guidance and warp.
        """
        found = self.mixture(hidden)
        if options.null is not None:
            null = self.mixture(options.null)
            weights = guided(found.log_weights, null.log_weights, options.scale)
            mean = guided(found.mean, null.mean, options.scale)
            found = GaussianMixture(weights.log_softmax(-1), mean, found.log_std)
        return found._replace(log_std=found.log_std + _log_temperature(found, options.warp))

    def loss(self, hidden: Tensor, token: Tensor) -> Tensor:
        """Negative log-density; see `Head.loss`."""
        return -self.log_prob(hidden, token)

    def log_prob(self, hidden: Tensor, token: Tensor) -> Tensor:
        """Summed over the channels; see `Head.log_prob`."""
        with in_float32(hidden):
            return self.mixture(hidden).log_prob(at_least_float32(token)).float()

    def _draw(self, hidden: Tensor, draws: Draws, options: SamplingOptions) -> Tensor:
        """See `Head.sample`."""
        return self.distribution(hidden, options).sample(draws)


def _log_temperature(law: GaussianMixture, warp: Warp) -> float | Tensor:
    temperature = warp.temperature
    if isinstance(temperature, Tensor):
        return temperature.to(law.mean).log().view(-1, *[1] * (law.mean.dim() - 1))
    return math.log(temperature)
