"""The network of the diffusion and flow heads: MAR's MLP (Li et al., 2024).

A token is one vector, so there is no attention: residual blocks of two linear layers, each scaled,
shifted and gated by the sum of the time and the hidden vector (adaLN-Zero; Peebles and Xie, 2023),
in MAR's order shift, scale, gate.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.layers.positions import sine_time
from intaglio.codecs.layers.transformer import MLPBlock, Modulation, modulated

WAVES = 256  # cosines and sines of the time
MAX_PERIOD = 10_000.0
EPS = 1e-6


class Denoiser(nn.Module):
    """Outputs for a noisy vector; zero at the start, and every block the identity.

    Args:
        dim: size of a hidden vector.
        channels: of a token.
        outputs: number of outputs.
        width: size of a vector of the network.
        depth: number of blocks.

    Raises:
        ValueError: no channel.
    """

    def __init__(self, dim: int, channels: int, outputs: int, *, width: int, depth: int) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"a continuous token has at least 1 channel, got {channels}")
        first, second = _linear(WAVES, width), _linear(width, width)
        for linear in (first, second):
            nn.init.normal_(linear.weight, std=0.02)
        self.time = nn.Sequential(first, nn.SiLU(), second)
        self.told = _linear(dim, width)
        self.enter = _linear(channels, width)
        self.blocks = nn.ModuleList(_block(width) for _ in range(depth))
        self.last = Modulation(width, 2, 1)
        self.out = _linear(width, outputs)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor, time: Tensor, told: Tensor) -> Tensor:
        """[tokens, outputs].

        Args:
            x: noisy vectors, [tokens, channels].
            time: in [0, 1], [tokens], or [1] for all.
            told: [tokens, width]; ``self.told`` of the hidden vectors.
        """
        waves = sine_time(time, WAVES, max_period=MAX_PERIOD).to(told.dtype)
        condition = told + self.time(waves)
        x = self.enter(x).unsqueeze(1)
        for block in self.blocks:
            x = block(x, condition)
        shift, scale = self.last(condition, (1,))
        normal = F.layer_norm(x, x.shape[-1:], eps=EPS)
        return self.out(modulated(normal, scale, shift)).squeeze(1)


def _block(width: int) -> MLPBlock:
    network = nn.Sequential(_linear(width, width), nn.SiLU(), _linear(width, width))
    return MLPBlock(network, nn.LayerNorm(width, eps=EPS), Modulation(width, 3, 1))


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer as MAR initialises it (Glorot and Bengio, 2010)."""
    linear = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
