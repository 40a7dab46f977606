"""A rectified-flow head: integrates a velocity from noise to data, given the hidden vector.

The network is the diffusion head's. Renormalised guidance and shifted times are those of
Ming-UniVision (2025), whose network is gated.
"""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from intaglio.codecs.layers.flow import logit_normal, on_path
from intaglio.codecs.layers.positions import at_least_float32
from intaglio.codecs.layers.solver import moved, shifted_times
from intaglio.generators.conditioning.guidance import guided
from intaglio.generators.heads.base import Head, SamplingOptions
from intaglio.generators.heads.continuous import in_float32, tempered
from intaglio.generators.heads.denoiser import Denoiser
from intaglio.generators.heads.denoising import Denoising, embedded
from intaglio.generators.inference.counter_rng import Draws, Role

Time = Literal["uniform", "logit-normal"]


class FlowHead(Head):
    """Velocity ``noise - data`` on the straight path from data to noise, in float32 or float64.

    The network's initial output is zero, so the initial loss is the squared velocity: 2 on average
    if the data have unit variance.

    Args:
        dim: size of a hidden vector.
        channels: of a token, standardised.
        hidden_channels: of the network.
        depth: number of its blocks.
        time: distribution of the times in training.
        repeats: number of times and noises for each token in a training step.
        steps: of sampling (Euler's method).
        shift: above 1, sampling takes finer steps near the noise; see `euler`.
        renormalised: whether guided velocities are scaled down to the conditional norm.

    Raises:
        ValueError: an unknown distribution of times, no repeat, no step, or a shift not above 0.
    """

    denoises = True

    def __init__(
        self,
        dim: int,
        channels: int,
        *,
        hidden_channels: int,
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
        self.network = Denoiser(
            dim, channels, channels, hidden_channels=hidden_channels, depth=depth
        )

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
        """Loss at given times with given noise, averaged over the channels, float32 [tokens].

        Args:
            hidden: [tokens, dim].
            token: [tokens, channels].
            time: float32 [tokens], in [0, 1]; 1 is noise.
            noise: float32 [tokens, channels].
        """
        with in_float32(hidden):
            token = at_least_float32(token)
            condition = self.network.condition_embedding(at_least_float32(hidden))
            velocity = self.network(on_path(token, noise, time), time, condition)
            return (velocity - (noise - token)).square().mean(-1).float()

    def _draw(self, hidden: Tensor, draws: Draws, options: SamplingOptions) -> Tensor:
        """Integrate the guided velocity; the temperature scales the noise. See `Head.sample`."""
        with torch.no_grad(), in_float32(hidden):
            condition, scale = embedded(self.network, hidden, options)
            noise = tempered(draws.normal(Role.NOISE, self.width), options.warp)
            noise = noise.to(condition).flatten(0, 1)
            steps = self.steps if options.steps is None else options.steps
            return self.denoise(condition, noise, steps, scale).view(*hidden.shape[:2], -1)

    @torch.no_grad()
    def denoise(
        self, condition: Tensor, noise: Tensor, steps: int, scale: Tensor | None = None
    ) -> Tensor:
        """The whole loop, [tokens, channels]; see `DiffusionHead.denoise`.

        Args:
            condition: of the network, [tokens, hidden_channels]; with guidance, that of the tokens
                without a condition behind it.
            noise: [tokens, channels].
            steps: at least 1.
            scale: of the guidance, [tokens]; None for none.
        """
        times = shifted_times(steps, self.shift)
        network = Denoising(
            self.network,
            condition.new_tensor(times[:-1]),
            condition,
            copies=1 if scale is None else 2,
        )
        x = noise
        for number, (start, end) in enumerate(pairwise(times)):
            velocity = network(number, x)
            if scale is not None:
                conditional, null = velocity.chunk(2)
                velocity = guided(conditional, null, scale)
                if self.renormalised:
                    velocity = renormalised(velocity, conditional)
            x = moved(x, velocity, start, end)
        return x


def renormalised(mixed: Tensor, conditional: Tensor) -> Tensor:
    """Guided velocities, [..., channels], with at most the norm of the conditional ones."""
    longest, length = (x.norm(dim=-1, keepdim=True) for x in (conditional, mixed))
    return torch.where(length > longest, mixed * longest / length.clamp(min=1e-12), mixed)
