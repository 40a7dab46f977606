"""The Fourier head (Gillman et al., 2024): a smooth distribution over ordered bins.

The density on [-1, 1] is the squared modulus of a short Fourier series: positive, with period 2.
The bins cover only the middle of the interval, so that the last bin is no neighbour of the first.
The head helps where there are few data for each context and neighbouring ids mean similar things:
levels of FSQ, coordinates, steps; never ids of a learned codebook. Deviations from the paper: the
initial distribution is uniform, and probabilities have a floor before they are normalised.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from intaglio.generators.heads.categorical import check_groups
from intaglio.generators.heads.continuous import in_float32
from intaglio.generators.heads.independent import IndependentHead

REACH = 0.9  # share of the period that the bins cover
FLOOR = 1e-5  # added to each bin's probability before normalisation


class FourierHead(IndependentHead):
    """A linear map to the series of each group, independent of the other groups.

    Args:
        dim: size of a hidden vector.
        vocab: number of bins of each group.
        frequencies: highest frequency of the density, in cycles per period; more than half the
            number of bins cannot be resolved.
        roughness: weight, in the loss only, of the squared slope of the densities: twice the sum
            of ``2 * (pi * k)**2 * |c_k|**2`` over the frequencies; 1e-6 in the paper.
        reach: the bins cover [-reach, reach].

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

    def logits(self, hidden: Tensor) -> list[Tensor]:
        """Log-probabilities of the bins of each group, float32 [..., bins], for [..., dim]."""
        with in_float32(hidden):
            series = self.series(hidden).unbind(-2)
            found = []
            for one, bins in zip(series, self.vocab, strict=True):
                centres = self.reach * ((2 * torch.arange(bins) + 1) / bins - 1)
                mass = density(one, centres.to(hidden.device)) / bins
                share = mass / mass.sum(-1, keepdim=True).clamp(min=1e-20) + FLOOR
                found.append((share / share.sum(-1, keepdim=True)).log())
            return found

    def loss(self, hidden: Tensor, token: Tensor) -> Tensor:
        """Negative log-probability and roughness; see `Head.loss`."""
        loss = -self.log_prob(hidden, token)
        if self.roughness:
            loss = loss + self.roughness * roughness(self.series(hidden)).sum(-1)
        return loss

    def log_prob(self, hidden: Tensor, token: Tensor) -> Tensor:
        """See `Head.log_prob`."""
        pairs = zip(self.logits(hidden), token.unbind(1), strict=True)
        return torch.stack(
            [log_probs.gather(1, ids[:, None])[:, 0] for log_probs, ids in pairs]
        ).sum(0)


def correlation(series: Tensor) -> Tensor:
    """Coefficients of the unnormalised density, complex [..., frequencies + 1].

    ``c_k`` is the sum over l of ``a_{l+k} * conj(a_l)``, by a zero-padded Fourier transform.
    """
    size = series.shape[-1]
    power = torch.fft.fft(series, n=2 * size).abs().square()
    return torch.fft.ifft(power)[..., :size]


def density(series: Tensor, points: Tensor) -> Tensor:
    """Density on [-1, 1], float [..., points]: the squared modulus of the series over its mean.

    Args:
        series: complex [..., frequencies + 1].
        points: [points].
    """
    orders = torch.arange(series.shape[-1], device=points.device)
    waves = torch.polar(torch.ones_like(points), math.pi * points).unsqueeze(0) ** orders[:, None]
    total = series.abs().square().sum(-1, keepdim=True)
    return (series @ waves).abs().square() / (2 * total).clamp(min=1e-20)


def roughness(series: Tensor) -> Tensor:
    """Twice the sum of ``2 * (pi * k)**2 * |c_k|**2`` of the unnormalised density, [...]."""
    shares = correlation(series).abs().square()
    orders = torch.arange(shares.shape[-1], device=shares.device)
    return 2 * (2 * (math.pi * orders) ** 2 * shares).sum(-1)
