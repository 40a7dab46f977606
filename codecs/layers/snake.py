"""Snake (Ziyin et al., 2020): the periodic activation of DAC and its relatives."""

import torch
from torch import Tensor, nn

from intaglio.codecs.layers.positions import at_least_float32
from intaglio.codecs.layers.tracing import exporting


def start_small(module: nn.Module) -> None:
    """DAC's initialisation, for ``module.apply``: normal, standard deviation 0.02, cut at 2.

    Residual blocks with Snake add to the variance; weights that keep it would let it explode.
    """
    if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
        with torch.no_grad():
            module.weight = nn.init.trunc_normal_(torch.empty_like(module.weight), std=0.02)


class Snake(nn.Module):
    """``x + sin²(αx) / α`` with a learned frequency α for each channel.

    Args:
        channels: number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, time] → the same shape; computed in float32 at least."""
        alpha, given = at_least_float32(self.alpha), x.dtype
        x = at_least_float32(x)
        scale = 1 / (alpha + 1e-9)
        phase = alpha * x
        if torch.is_grad_enabled() or exporting():
            return torch.addcmul(x, phase.sin().square(), scale).to(given)
        wave = phase.sin_().square_()  # in place: memory, not the sine, costs the time
        return torch.addcmul(x, wave, scale, out=wave).to(given)
