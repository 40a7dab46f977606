"""ResidualLSTM: the recurrent layers of EnCodec's encoder and decoder (Défossez et al., 2022)."""

import torch
from torch import Tensor, nn


class ResidualLSTM(nn.Module):
    """Unidirectional LSTM over time with a skip connection.

    Args:
        channels: channels in, hidden and out.
        num_layers: layers.
    """

    def __init__(self, channels: int, num_layers: int = 2) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, channels, num_layers)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, time] → the same shape."""
        steps = x.permute(2, 0, 1)
        # given explicitly, so that an exported graph keeps the batch size open
        start = torch.zeros(
            self.lstm.num_layers, x.shape[0], x.shape[1], dtype=x.dtype, device=x.device
        )
        return (self.lstm(steps, (start, start))[0] + steps).permute(1, 2, 0)
