"""The diffusion head of MAR (Li et al., 2024): denoises a token, conditioned on the hidden vector.

``eps`` predicts the noise, as MAR's released weights do; ``v`` predicts the velocity, as MMAR's
head does (Yang et al., 2024), and is for new models. A denoising step multiplies an error of ``v``
by at most 1, an error of ``eps`` by a factor that grows without bound with the noise.

The variance is learned between its two bounds by a variational term without gradients for the mean
(Nichol and Dhariwal, 2021). The likelihood of the first step, one thousandth of that term, on which
no sample depends, omits the special cases for pixel values at the ends of their range.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from intaglio.codecs.layers.positions import at_least_float32
from intaglio.generators.conditioning.guidance import guided
from intaglio.generators.heads.ancestral import STEPS, DiffusionStep, ancestral, strided
from intaglio.generators.heads.base import Head, SamplingOptions
from intaglio.generators.heads.continuous import in_float32, tempered
from intaglio.generators.heads.denoiser import Denoiser
from intaglio.generators.heads.denoising import Denoising, embedded, noise_of
from intaglio.generators.inference.counter_rng import Draws

BIN = 1 / 255  # half a bin; the likelihood of the first step is the probability of a bin
LEAST = 1e-12  # smallest probability of a bin

Prediction = Literal["eps", "v"]


class DiffusionHead(Head):
    """Denoises a vector step by step, in float32 or float64.

    The network's initial output is zero, so the initial squared error is that of the target: 1 on
    average if the data have unit variance.

    Args:
        dim: size of a hidden vector.
        channels: of a token, standardised.
        hidden_channels: of the network.
        depth: number of its blocks.
        prediction: ``eps``, the noise, or ``v``, signal * noise - noise share * data.
        repeats: number of times and noises for each token in a training step.
        steps: of sampling, evenly spaced.

    Raises:
        ValueError: an unknown prediction, no repeat, or steps out of range.
    """

    table: Tensor
    denoises = True

    def __init__(
        self,
        dim: int,
        channels: int,
        *,
        hidden_channels: int,
        depth: int,
        prediction: Prediction = "v",
        repeats: int = 4,
        steps: int = 100,
    ) -> None:
        super().__init__()
        if prediction not in ("eps", "v"):
            raise ValueError(f"a diffusion head predicts eps or v, got {prediction!r}")
        if repeats < 1:
            raise ValueError(f"at least 1 repeat is needed, got {repeats}")
        strided(steps)
        self.dim, self.width = dim, channels
        self.prediction, self.repeats, self.steps = prediction, repeats, steps
        self.network = Denoiser(
            dim, channels, 2 * channels, hidden_channels=hidden_channels, depth=depth
        )
        table = torch.stack(ancestral(range(STEPS)), dim=1).float()
        self.register_buffer("table", table, persistent=False)

    def loss(self, hidden: Tensor, token: Tensor) -> Tensor:
        """Squared error and variational term at random times; see `Head.loss`."""
        hidden, token = (x.repeat(self.repeats, 1) for x in (hidden, token))
        step = torch.randint(STEPS, (len(token),), device=token.device)
        noise = torch.randn_like(token, dtype=torch.float32)
        return self.loss_at(hidden, token, step, noise).view(self.repeats, -1).mean(0)

    def loss_at(self, hidden: Tensor, token: Tensor, step: Tensor, noise: Tensor) -> Tensor:
        """Loss at given steps with given noise, averaged over the channels, float32 [tokens].

        Args:
            hidden: [tokens, dim].
            token: [tokens, channels].
            step: int64 [tokens], from 0 to 999.
            noise: float32 [tokens, channels].
        """
        with in_float32(hidden):
            token = at_least_float32(token)
            at = DiffusionStep(*self.table[step].unsqueeze(-1).unbind(1))
            x = at.signal * token + at.noise * noise
            condition = self.network.condition_embedding(at_least_float32(hidden))
            out, spread = self.network(x, at.time[:, 0], condition).chunk(2, dim=-1)
            target = noise if self.prediction == "eps" else at.signal * noise - at.noise * token
            error = (out - target).square().mean(-1)
            mean, log_variance = self.back(at, x, out.detach(), spread)
            true = at.from_data * token + at.from_noisy * x
            bound = torch.where(
                step.unsqueeze(-1) == 0,
                -_log_of_bin(token - mean, log_variance),
                _divergence(true - mean, at.low, log_variance),
            )
            return (error + bound.mean(-1) / math.log(2)).float()

    def _draw(self, hidden: Tensor, draws: Draws, options: SamplingOptions) -> Tensor:
        """Denoise step by step; see `Head.sample`.

        Guidance applies to the prediction; the variance is the conditional one. The temperature
        scales the noise of the steps, not the initial noise; the last step adds none.
        """
        steps = self.steps if options.steps is None else options.steps
        with torch.no_grad(), in_float32(hidden):
            condition, scale = embedded(self.network, hidden, options)
            noise = noise_of(draws, self.width, steps).to(condition)
            factor = tempered(noise.new_ones(*hidden.shape[:2], 1), options.warp).flatten(0, 1)
            noise[1:] *= factor
            return self.denoise(condition, noise, scale).view(*hidden.shape[:2], -1)

    @torch.no_grad()
    def denoise(self, condition: Tensor, noise: Tensor, scale: Tensor | None = None) -> Tensor:
        """The whole loop; nothing in it depends on a value, so that it can be recorded.

        Args:
            condition: of the network, [tokens, hidden_channels]; with guidance, that of the tokens
                without a condition behind it.
            noise: [steps, tokens, channels], of the beginning and of all steps but the last.
            scale: of the guidance, [tokens]; None for none.

        Returns:
            Tokens, [tokens, channels].
        """
        table = self._steps(len(noise)).to(condition)
        network = Denoising(self.network, table[:, 0], condition, copies=1 if scale is None else 2)
        x = noise[0]
        for number, (_, of_noisy, of_out, log_std, slope) in enumerate(table.unbind()):
            out, spread = network(number, x).chunk(2, dim=-1)
            if scale is not None:
                (out, null), spread = out.chunk(2), spread[: len(x)]
                out = guided(out, null, scale)
            x = of_noisy * x + of_out * out
            if number + 1 < len(noise):
                x.addcmul_((log_std + slope * spread).exp_(), noise[number + 1])
        return x

    def _steps(self, steps: int) -> Tensor:
        """Steps from the noise on, float64 [steps, 5]: the time, what the noisy vector and the
        prediction count in the mean after it, and the logarithm of the standard deviation, of which
        the last is what the network's output adds."""
        at = ancestral(strided(steps))
        of_noisy, of_out = at.signal, -at.noise  # of the data
        if self.prediction == "eps":
            of_noisy, of_out = 1 / at.signal, -at.noise / at.signal
        slope = (at.high - at.low) / 4
        table = (
            at.time,
            at.from_data * of_noisy + at.from_noisy,
            at.from_data * of_out,
            at.low / 2 + slope,
            slope,
        )
        return torch.stack(table, dim=1).flip(0)

    def back(
        self, at: DiffusionStep, x: Tensor, out: Tensor, spread: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the previous step, [tokens, channels] each.

        Args:
            at: the step, of fields that fit the tokens.
            x: noisy vectors, [tokens, channels].
            out: prediction of the network, of the same shape.
            spread: its raw log-variance.
        """
        if self.prediction == "eps":
            data = (x - at.noise * out) / at.signal
        else:
            data = at.signal * x - at.noise * out
        share = (spread + 1) / 2
        return at.from_data * data + at.from_noisy * x, share * at.high + (1 - share) * at.low


def _divergence(distance: Tensor, log_true: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of two normal distributions, in nats."""
    ratio = (log_true - log_variance).exp()
    return (ratio - 1 + log_variance - log_true + distance**2 * (-log_variance).exp()) / 2


def _log_of_bin(distance: Tensor, log_variance: Tensor) -> Tensor:
    """Log-probability of the bin around a value, under a normal distribution."""
    inverse = (-log_variance / 2).exp()
    upper, lower = (torch.special.ndtr((distance + side) * inverse) for side in (BIN, -BIN))
    return (upper - lower).clamp(min=LEAST).log()
