"""A rectified-flow head: a vector by following a velocity from noise, told the hidden vector.

The network is the diffusion head's; Ming-UniVision (2025), whose renormalised guidance and shifted
times are here, has a gated one.
"""

from typing import Literal

import torch
from torch import Tensor

from intaglio.codecs.layers.flow import logit_normal, on_path
from intaglio.codecs.layers.positions import at_least_float32
from intaglio.codecs.layers.solver import euler
from intaglio.generators.conditioning.guidance import guided
from intaglio.generators.heads.base import Head, Steering
from intaglio.generators.heads.continuous import in_float32, tempered
from intaglio.generators.heads.denoiser import Denoiser
from intaglio.generators.inference.counter_rng import Draws, Role

Time = Literal["uniform", "logit-normal"]


class FlowHead(Head):
    """Velocity ``noise - data`` along the straight path from data to noise; in float32 at least.

    The network's first outputs are zero: the first loss is the square of the velocity, 2 on
    average where the data have unit variance.

    Args:
        dim: size of a hidden vector.
        channels: of a token, standardised.
        width: size of a vector of the network. The attribute of this name is, as in any head,
            the number of channels.
        depth: blocks of the network.
        time: law of the times of training.
        repeats: how many times and noises each token gets in a training step.
        steps: of sampling (Euler's method).
        shift: above 1, sampling takes finer steps near the noise; see `euler`.
        renormalised: whether guidance may turn the velocity but not lengthen it.

    Raises:
        ValueError: an unknown law of times, no repeat, no step, or a shift not above 0.
    """

    def __init__(
        self,
        dim: int,
        channels: int,
        *,
        width: int,
        depth: int,
        time: Time = "uniform",
        repeats: int = 4,
        steps: int = 16,
        shift: float = 1.0,
        renormalised: bool = False,
    ) -> None:
        super().__init__()
        if time not in ("uniform", "logit-normal"):
            raise ValueError(f"times of training are uniform or logit-normal, got {time!r}")
        if repeats < 1 or steps < 1:
            raise ValueError(f"at least 1 repeat and 1 step, got {repeats} and {steps}")
        if shift <= 0:
            raise ValueError(f"the shift of the times is above 0, got {shift}")
        self.dim, self.width = dim, channels
        self.time, self.repeats = time, repeats
        self.steps, self.shift, self.renormalised = steps, shift, renormalised
        self.network = Denoiser(dim, channels, channels, width=width, depth=depth)

    def loss(self, hidden: Tensor, token: Tensor) -> Tensor:
        """Squared error of the velocity at random times; see `Head.loss`."""
        hidden, token = (x.repeat(self.repeats, 1) for x in (hidden, token))
        if self.time == "uniform":
            time = torch.rand(len(token), device=token.device)
        else:
            time = logit_normal(len(token), token.device)
        noise = torch.randn_like(token, dtype=torch.float32)
        return self.loss_at(hidden, token, time, noise).view(self.repeats, -1).mean(0)

    def loss_at(self, hidden: Tensor, token: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """Loss at given times with given noise, float32 [tokens]: the mean over the channels.

        Args:
            hidden: [tokens, dim].
            token: [tokens, channels].
            time: float32 [tokens], in [0, 1]; 1 is noise.
            noise: float32 [tokens, channels].
        """
        with in_float32(hidden):
            token = at_least_float32(token)
            told = self.network.told(at_least_float32(hidden))
            velocity = self.network(on_path(token, noise, time), time, told)
            return (velocity - (noise - token)).square().mean(-1).float()

    def _draw(self, hidden: Tensor, draws: Draws, how: Steering) -> Tensor:
        """Follow the guided velocity; the temperature scales the noise. See `Head.sample`."""
        with in_float32(hidden):
            told = self.network.told(at_least_float32(hidden))
            free = None if how.null is None else self.network.told(at_least_float32(how.null))

            def velocity(x: Tensor, time: Tensor) -> Tensor:
                under = self._velocity(x, time, told)
                if free is None:
                    return under
                mixed = guided(under, self._velocity(x, time, free), how.scale)
                return renormalised(mixed, under) if self.renormalised else mixed

            noise = tempered(draws.normal(Role.NOISE, self.width), how.warp)
            return euler(velocity, noise.to(told.dtype), self.steps, shift=self.shift)

    def _velocity(self, x: Tensor, time: Tensor, told: Tensor) -> Tensor:
        """At one time for all, [batch, positions, channels]."""
        return self.network(x.flatten(0, 1), time[:1], told.flatten(0, 1)).view_as(x)


def renormalised(mixed: Tensor, under: Tensor) -> Tensor:
    """Guided velocities, [..., channels], no longer than those under the condition."""
    longest, length = (x.norm(dim=-1, keepdim=True) for x in (under, mixed))
    return torch.where(length > longest, mixed * longest / length.clamp(min=1e-12), mixed)
