"""The network of the diffusion and flow heads: MAR's MLP (Li et al., 2024).

A token is one vector, so there is no attention: residual blocks of two linear layers, each scaled,
shifted and gated by the sum of the time and the hidden vector (adaLN-Zero; Peebles and Xie, 2023),
in MAR's order shift, scale, gate.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.layers.positions import sine_time
from intaglio.codecs.layers.transformer import MLPBlock, Modulation, modulated

TIME_CHANNELS = 256  # cosines and sines of the time
MAX_PERIOD = 10_000.0
EPS = 1e-6


class Denoiser(nn.Module):
    """Predicts from a noisy vector; initially the output is zero and every block the identity.

    Args:
        dim: size of a hidden vector.
        channels: of a token.
        outputs: number of outputs.
        hidden_channels: of the network.
        depth: number of blocks.

    Raises:
        ValueError: no channel.
    """

    def __init__(
        self, dim: int, channels: int, outputs: int, *, hidden_channels: int, depth: int
    ) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"a continuous token has at least 1 channel, got {channels}")
        first, second = (
            _linear(TIME_CHANNELS, hidden_channels),
            _linear(hidden_channels, hidden_channels),
        )
        for linear in (first, second):
            nn.init.normal_(linear.weight, std=0.02)
        self.time_embedding = nn.Sequential(first, nn.SiLU(), second)
        self.condition_embedding = _linear(dim, hidden_channels)
        self.input_projection = _linear(channels, hidden_channels)
        self.blocks = nn.ModuleList(_block(hidden_channels) for _ in range(depth))
        self.final_modulation = Modulation(hidden_channels, 2, 1)
        self.out = _linear(hidden_channels, outputs)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """[tokens, outputs].

        Args:
            x: noisy vectors, [tokens, channels].
            time: in [0, 1], [tokens], or [1] for all.
            condition: ``self.condition_embedding`` of hidden vectors, [tokens, hidden_channels].
        """
        waves = sine_time(time, TIME_CHANNELS, max_period=MAX_PERIOD).to(condition.dtype)
        condition = condition + self.time_embedding(waves)
        x = self.input_projection(x).unsqueeze(1)
        for block in self.blocks:
            x = block(x, condition)
        shift, scale = self.final_modulation(condition, (1,))
        normal = F.layer_norm(x, x.shape[-1:], eps=EPS)
        return self.out(modulated(normal, scale, shift)).squeeze(1)


def _block(channels: int) -> MLPBlock:
    network = nn.Sequential(_linear(channels, channels), nn.SiLU(), _linear(channels, channels))
    return MLPBlock(network, nn.LayerNorm(channels, eps=EPS), Modulation(channels, 3, 1))


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer with MAR's initialisation (Glorot and Bengio, 2010)."""
    linear = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
