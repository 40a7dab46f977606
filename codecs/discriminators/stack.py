"""The body of every discriminator: weight-normed convolutions whose activations are all kept."""

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

SLOPE = 0.1  # of the leaky ReLU, as in HiFi-GAN (Kong et al., 2020) and its successors


class ConvStack(nn.Module):
    """Weight-normed convolutions in a row, each followed by a leaky ReLU.

    Args:
        convs: the convolutions; they become weight-normed.
        slope: of the leaky ReLU below zero.
        plain_first: leave the first one without weight normalisation.
    """

    def __init__(
        self,
        convs: Iterable[nn.Conv1d] | Iterable[nn.Conv2d],
        slope: float = SLOPE,
        *,
        plain_first: bool = False,
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            conv if plain_first and number == 0 else weight_norm(conv)
            for number, conv in enumerate(convs)
        )
        self.slope = slope

    def forward(self, x: Tensor) -> list[Tensor]:
        """Every activation, first layer first, of a signal or a map [batch, channels, …]."""
        features = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), self.slope)
            features.append(x)
        return features
