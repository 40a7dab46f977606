"""The Fourier head (Gillman et al., 2024): a smooth law over ordered bins, by a few frequencies.

The density on [-1, 1] is the squared size of a short Fourier series, so it is positive and of
period 2: bins fill only the middle of it, lest the last and the first be neighbours. It helps where
data for each context are few, and only where neighbouring ids mean similar things: levels of FSQ,
coordinates, steps; never ids of a learned codebook. Deviations: the first law is the uniform one,
and the floor of a probability is part of a law that sums to one.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from intaglio.generators.heads.base import Head, Steering
from intaglio.generators.heads.categorical import check_groups, drawn
from intaglio.generators.heads.continuous import in_float32
from intaglio.generators.inference.counter_rng import Draws

REACH = 0.9  # of the bins, of a half period
FLOOR = 1e-5  # of a bin's probability, before they are divided by their sum


class FourierHead(Head):
    """A linear map to the series of each group, independent of the other groups.

    Args:
        dim: size of a hidden vector.
        vocab: number of bins of each group.
        frequencies: highest frequency of the density, in turns of the whole period; at most half
            the bins can be told apart.
        roughness: weight, in the loss only, of the squared slope of the densities, that is twice
            the sum of ``2 * (pi * k)**2 * |c_k|**2`` over the frequencies; 1e-6 in the paper.
        reach: of the bins: they fill [-reach, reach].

    Raises:
        ValueError: no group, one of fewer than 2 bins, no frequency, a negative roughness, or a
            reach not in (0, 1].
    """

    tractable = True

    def __init__(
        self,
        dim: int,
        vocab: Sequence[int],
        *,
        frequencies: int = 8,
        roughness: float = 0.0,
        reach: float = REACH,
    ) -> None:
        super().__init__()
        check_groups(vocab)
        if frequencies < 1:
            raise ValueError(f"a series has at least 1 frequency, got {frequencies}")
        if roughness < 0 or not 0 < reach <= 1:
            raise ValueError(f"a roughness from 0, a reach in (0, 1], got {roughness} and {reach}")
        self.dim, self.vocab, self.width = dim, tuple(vocab), len(vocab)
        self.frequencies, self.roughness, self.reach = frequencies, roughness, reach
        self.linear = nn.Linear(dim, self.width * (frequencies + 1) * 2)
        nn.init.zeros_(self.linear.weight)
        start = torch.zeros(self.width, frequencies + 1, 2)
        start[:, 0, 0] = 1
        with torch.no_grad():
            self.linear.bias.copy_(start.flatten())

    def series(self, hidden: Tensor) -> Tensor:
        """Coefficients of each group, complex64 [..., groups, frequencies + 1], for [..., dim]."""
        with in_float32(hidden):
            values = self.linear(hidden.float())
            return torch.view_as_complex(values.unflatten(-1, (self.width, -1, 2)))

    def log_probs(self, hidden: Tensor) -> list[Tensor]:
        """Of the bins of each group, float32 [..., bins], for [..., dim]."""
        with in_float32(hidden):
            series = self.series(hidden).unbind(-2)
            laws = []
            for one, bins in zip(series, self.vocab, strict=True):
                centres = self.reach * ((2 * torch.arange(bins) + 1) / bins - 1)
                mass = density(one, centres.to(hidden.device)) / bins
                share = mass / mass.sum(-1, keepdim=True).clamp(min=1e-20) + FLOOR
                laws.append((share / share.sum(-1, keepdim=True)).log())
            return laws

    def loss(self, hidden: Tensor, token: Tensor) -> Tensor:
        """Negative log-probability and roughness; see `Head.loss`."""
        loss = -self.log_prob(hidden, token)
        if self.roughness:
            loss = loss + self.roughness * roughness(self.series(hidden)).sum(-1)
        return loss

    def log_prob(self, hidden: Tensor, token: Tensor) -> Tensor:
        """See `Head.log_prob`."""
        laws = zip(self.log_probs(hidden), token.unbind(1), strict=True)
        return torch.stack([law.gather(1, ids[:, None])[:, 0] for law, ids in laws]).sum(0)

    def _draw(self, hidden: Tensor, draws: Draws, how: Steering) -> Tensor:
        """Draw ids by guided log-probabilities; see `Head.sample`."""
        free = None if how.null is None else self.log_probs(how.null)
        return drawn(self.log_probs(hidden), free, draws, how)


def correlation(series: Tensor) -> Tensor:
    """Coefficients of the density before it is normalised, complex [..., frequencies + 1].

    ``c_k``, the sum over l of ``a_{l+k} * conj(a_l)``, by a Fourier transform padded with zeros.
    """
    size = series.shape[-1]
    power = torch.fft.fft(series, n=2 * size).abs().square()
    return torch.fft.ifft(power)[..., :size]


def density(series: Tensor, points: Tensor) -> Tensor:
    """On [-1, 1], float [..., points]: the squared size of the series over its mean.

    Args:
        series: complex [..., frequencies + 1].
        points: [points].
    """
    turns = torch.arange(series.shape[-1], device=points.device)
    waves = torch.polar(torch.ones_like(points), math.pi * points).unsqueeze(0) ** turns[:, None]
    total = series.abs().square().sum(-1, keepdim=True)
    return (series @ waves).abs().square() / (2 * total).clamp(min=1e-20)


def distribution(series: Tensor, points: Tensor) -> Tensor:
    """Integral of the density from -1, float [..., points]; arguments as in `density`."""
    shares = correlation(series)
    shares = shares[..., 1:] / shares[..., :1].real.clamp(min=1e-20)
    turns = torch.arange(1, series.shape[-1], device=points.device).unsqueeze(1)
    waves = torch.polar(torch.ones_like(turns * points), math.pi * turns * points)
    integrals = (waves - (-1.0) ** turns) / (math.pi * turns)  # times i
    return (points + 1) / 2 + (shares @ integrals).imag


def roughness(series: Tensor) -> Tensor:
    """Twice the sum of ``2 * (pi * k)**2 * |c_k|**2``, [...], of the density not normalised."""
    shares = correlation(series).abs().square()
    turns = torch.arange(shares.shape[-1], device=shares.device)
    return 2 * (2 * (math.pi * turns) ** 2 * shares).sum(-1)
