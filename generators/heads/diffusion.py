"""The diffusion head of MAR (Li et al., 2024): a vector by denoising, told the hidden vector.

``eps`` predicts the noise, as MAR's released weights do; ``v`` predicts what MMAR's head does (Yang
et al., 2024) and is for new models. One step back multiplies an error of ``v`` by at most 1, that
of ``eps`` by a factor that grows without bound with the noise.

The variance is learned between its two bounds by a variational term that leaves the mean alone
(Nichol and Dhariwal, 2021). Its likelihood of the first step, a part in a thousand of it that no
sample depends on, lacks the special cases of pixel values at the ends of their range.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from intaglio.codecs.layers.positions import at_least_float32
from intaglio.generators.conditioning.guidance import guided
from intaglio.generators.heads.ancestral import STEPS, Step, ancestral, strided
from intaglio.generators.heads.base import Head, Steering
from intaglio.generators.heads.continuous import in_float32, tempered
from intaglio.generators.heads.denoiser import Denoiser
from intaglio.generators.inference.counter_rng import Draws, Role

BIN = 1 / 255  # half the width of the bin whose probability is the likelihood of the first step
LEAST = 1e-12  # probability of a bin

Prediction = Literal["eps", "v"]


class DiffusionHead(Head):
    """Denoising of a vector in steps; in float32 at least.

    The network's first outputs are zero: the first squared error is that of its target, 1 on
    average where the data have unit variance.

    Args:
        dim: size of a hidden vector.
        channels: of a token, standardised.
        width: size of a vector of the network. The attribute of this name is, as in any head,
            the number of channels.
        depth: blocks of the network.
        prediction: ``eps``, the noise, or ``v``, signal * noise - noise share * data.
        repeats: how many times and noises each token gets in a training step.
        steps: of sampling, evenly strided.

    Raises:
        ValueError: an unknown prediction, no repeat, or steps out of range.
    """

    table: Tensor

    def __init__(
        self,
        dim: int,
        channels: int,
        *,
        width: int,
        depth: int,
        prediction: Prediction = "v",
        repeats: int = 4,
        steps: int = 100,
    ) -> None:
        super().__init__()
        if prediction not in ("eps", "v"):
            raise ValueError(f"a diffusion head predicts eps or v, got {prediction!r}")
        if repeats < 1:
            raise ValueError(f"a token is learned at least once, got {repeats} repeats")
        strided(steps)
        self.dim, self.width = dim, channels
        self.prediction, self.repeats, self.steps = prediction, repeats, steps
        self.network = Denoiser(dim, channels, 2 * channels, width=width, depth=depth)
        table = torch.stack(ancestral(range(STEPS)), dim=1).float()
        self.register_buffer("table", table, persistent=False)

    def loss(self, hidden: Tensor, token: Tensor) -> Tensor:
        """Squared error and variational term at random times; see `Head.loss`."""
        hidden, token = (x.repeat(self.repeats, 1) for x in (hidden, token))
        step = torch.randint(STEPS, (len(token),), device=token.device)
        noise = torch.randn_like(token, dtype=torch.float32)
        return self.loss_at(hidden, token, step, noise).view(self.repeats, -1).mean(0)

    def loss_at(self, hidden: Tensor, token: Tensor, step: Tensor, noise: Tensor) -> Tensor:
        """Loss at given steps with given noise, float32 [tokens]: the mean over the channels.

        Args:
            hidden: [tokens, dim].
            token: [tokens, channels].
            step: int64 [tokens], from 0 to 999.
            noise: float32 [tokens, channels].
        """
        with in_float32(hidden):
            token = at_least_float32(token)
            at = Step(*self.table[step].unsqueeze(-1).unbind(1))
            x = at.signal * token + at.noise * noise
            told = self.network.told(at_least_float32(hidden))
            out, spread = self.network(x, at.time[:, 0], told).chunk(2, dim=-1)
            target = noise if self.prediction == "eps" else at.signal * noise - at.noise * token
            error = (out - target).square().mean(-1)
            mean, log_variance = self._back(at, x, out.detach(), spread)
            true = at.from_data * token + at.from_point * x
            bound = torch.where(
                step.unsqueeze(-1) == 0,
                -_log_of_bin(token - mean, log_variance),
                _divergence(true - mean, at.low, log_variance),
            )
            return (error + bound.mean(-1) / math.log(2)).float()

    def _draw(self, hidden: Tensor, draws: Draws, how: Steering) -> Tensor:
        """Denoise step by step; see `Head.sample`.

        Guidance acts on the prediction; the variance is that under the condition. The temperature
        scales the noise of the steps, not that at the start; the last step has none.
        """
        with in_float32(hidden):
            rows = torch.stack(ancestral(strided(self.steps)), dim=1).tolist()
            told = self.network.told(at_least_float32(hidden))
            free = None if how.null is None else self.network.told(at_least_float32(how.null))
            x = draws.normal(Role.NOISE, self.width).to(told.dtype)
            for count, row in enumerate(reversed(rows), start=1):
                at = Step(*torch.tensor(row).unbind())
                out, spread = self._outputs(x, row[0], told)
                if free is not None:
                    out = guided(out, self._outputs(x, row[0], free)[0], how.scale)
                x, log_variance = self._back(at, x, out, spread)
                if count < self.steps:
                    fresh = draws.normal(Role.NOISE, self.width, first=count * self.width)
                    x = x + (log_variance / 2).exp() * tempered(fresh, how.warp)
            return x

    def _outputs(self, x: Tensor, time: float, told: Tensor) -> tuple[Tensor, Tensor]:
        """Prediction and place of the variance, [batch, positions, channels] each."""
        times = torch.full((1,), time, device=x.device)
        out = self.network(x.flatten(0, 1), times, told.flatten(0, 1)).view(*x.shape[:2], -1)
        return out[..., : self.width], out[..., self.width :]

    def _back(self, at: Step, x: Tensor, out: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance one step back."""
        if self.prediction == "eps":
            data = (x - at.noise * out) / at.signal
        else:
            data = at.signal * x - at.noise * out
        share = (spread + 1) / 2
        return at.from_data * data + at.from_point * x, share * at.high + (1 - share) * at.low


def _divergence(distance: Tensor, log_true: Tensor, log_variance: Tensor) -> Tensor:
    """Of a normal law from another, Kullback and Leibler's, in nats; log-variances given."""
    ratio = (log_true - log_variance).exp()
    return (ratio - 1 + log_variance - log_true + distance**2 * (-log_variance).exp()) / 2


def _log_of_bin(distance: Tensor, log_variance: Tensor) -> Tensor:
    """Log of a normal law's probability of the bin around a value at a distance of its mean."""
    inverse = (-log_variance / 2).exp()
    upper, lower = (torch.special.ndtr((distance + side) * inverse) for side in (BIN, -BIN))
    return (upper - lower).clamp(min=LEAST).log()
