"""A denoising network at steps that are known beforehand, for the same tokens at all of them.

What the time and the hidden vector do to the network, its scales, shifts and gates (adaLN), does
not depend on the noisy vector. It is computed for many steps in one product for each block, which
reads three fifths of the weights once and not in every step. With guidance both halves of the batch
share a pass; the noisy vector is the same for both. Nothing here waits for a result or depends on
one, so that a whole loop of steps can be recorded as a CUDA graph.
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.layers.positions import at_least_float32, sine_time
from intaglio.codecs.layers.transformer import MLPBlock
from intaglio.generators.heads.base import SamplingOptions
from intaglio.generators.heads.denoiser import EPS, MAX_PERIOD, TIME_CHANNELS, Denoiser
from intaglio.generators.inference.counter_rng import Draws, Role

MOST_VALUES = 1 << 24  # scales, shifts and gates at a time, and numbers of noise


class StepSchedule(NamedTuple):
    """Denoising steps of a token: fewer for later ones, which are easier (DiSA; Zhao et al., 2025).

    Attributes:
        first: for the tokens that are drawn first; 50 in DiSA.
        last: for those drawn last; 5 in DiSA.
    """

    first: int
    last: int

    def at(self, time: float) -> int:
        """Steps at a time in [0, 1], linear in it."""
        return round(self.first + (self.last - self.first) * time)

    def check(self) -> None:
        """Refuse numbers of steps below 1.

        Raises:
            ValueError: there is one.
        """
        if min(self) < 1:
            raise ValueError(f"a token takes 1 denoising step or more, got {self.first, self.last}")


class Denoising:
    """The network for some rows of tokens, at one step after the other.

    Args:
        network: nothing that it holds is changed.
        times: of the steps, [steps], in the order in which they come.
        condition: ``network.condition_embedding`` of hidden vectors, [rows, hidden_channels].
        copies: rows of each token; 2 if the second half of the rows has no condition.
    """

    def __init__(
        self, network: Denoiser, times: Tensor, condition: Tensor, *, copies: int = 1
    ) -> None:
        self.network, self.condition, self.copies = network, condition, copies
        waves = sine_time(times, TIME_CHANNELS, max_period=MAX_PERIOD).to(condition.dtype)
        self.times = network.time_embedding(waves)
        self.blocks = [cast(MLPBlock, block) for block in network.blocks]
        each = condition.numel() * (3 * len(self.blocks) + 2)
        self.together = max(1, MOST_VALUES // each)
        self.modulations: list[list[tuple[Tensor, ...]]] = []
        self.buffer = torch.empty_like(condition)

    def __call__(self, number: int, x: Tensor) -> Tensor:
        """Outputs of one step, [rows, outputs].

        Args:
            number: of the step; they are asked for in order.
            x: noisy vectors, [tokens, channels].
        """
        if number % self.together == 0:
            self.modulations = self._modulations(self.times[number : number + self.together])
        here = self.modulations[number % self.together]
        x = self.network.input_projection(x)
        if self.copies > 1:
            x = x.repeat(self.copies, 1)
        for block, (shift, scale, gate) in zip(self.blocks, here[:-1], strict=True):
            first, activation, second = cast(
                tuple[nn.Linear, nn.Module, nn.Linear], tuple(block.network.children())
            )
            wide = block.norm(x)
            torch.addcmul(shift, wide, scale, out=wide)
            torch.addmm(first.bias, wide, first.weight.T, out=self.buffer)
            torch.addmm(second.bias, activation(self.buffer), second.weight.T, out=wide)
            x.addcmul_(gate, wide)
        shift, scale = here[-1]
        wide = F.layer_norm(x, x.shape[-1:], eps=EPS)
        return self.network.out(torch.addcmul(shift, wide, scale, out=wide))

    def _modulations(self, times: Tensor) -> list[list[tuple[Tensor, ...]]]:
        """Of each time, those of all blocks and of the output; scales have 1 added."""
        embedded = F.silu(self.condition + times.unsqueeze(1))
        parts = [*(block.modulation for block in self.blocks), self.network.final_modulation]
        found = []
        for part in parts:
            values = part.linear(embedded).unflatten(-1, (part.count, -1))
            values[..., 1, :] += 1
            found.append([one.unbind(1) for one in values])
        return [list(one) for one in zip(*found, strict=True)]


def embedded(
    network: Denoiser, hidden: Tensor, options: SamplingOptions
) -> tuple[Tensor, Tensor | None]:
    """The condition of all rows of a batch [batch, positions, dim], and the scale of each token.

    With guidance the rows without a condition are behind the others; the scale is None without.
    """
    both = [hidden]
    scale = options.scale
    if options.null is not None and (isinstance(scale, Tensor) or scale != 1):
        both.append(options.null)
    rows = torch.cat([one.flatten(0, 1) for one in both])
    condition = network.condition_embedding(at_least_float32(rows))
    if len(both) == 1:
        return condition, None
    scale = torch.as_tensor(scale, dtype=condition.dtype, device=condition.device)
    scale = scale.view(*scale.shape, *[1] * (2 - scale.dim())).expand(hidden.shape[:2])
    return condition, scale.flatten()


def noise_of(draws: Draws, channels: int, count: int) -> Tensor:
    """Noise of some steps, float32 [count, tokens, channels]; that of each depends on its number.

    Args:
        draws: random numbers of [batch, positions], which are the tokens.
        channels: of a token.
        count: steps.
    """
    tokens = len(draws.seeds) * draws.positions.shape[-1]
    together = max(1, MOST_VALUES // 8 // (tokens * channels))
    parts = []
    for first in range(0, count, together):
        steps = min(together, count - first)
        part = draws.normal(Role.NOISE, steps * channels, first=first * channels)
        parts.append(part.flatten(0, 1).unflatten(1, (steps, channels)).transpose(0, 1))
    return torch.cat(parts).contiguous()
