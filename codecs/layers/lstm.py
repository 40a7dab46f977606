"""ResidualLSTM: the recurrent layers of EnCodec's encoder and decoder (Défossez et al., 2022)."""

import torch
from torch import Tensor, nn

from intaglio.codecs.streaming.state import State, StreamingLayer
from intaglio.codecs.streaming.streams import Stream

Recurrence = tuple[Tensor, Tensor]  # hidden and cell state, [layers, batch, channels]


class ResidualLSTM(StreamingLayer):
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
        return self.run(x, None)[0]

    def run(self, x: Tensor, state: Recurrence | None) -> tuple[Tensor, Recurrence]:
        """As `forward`, from a state on; gives the state afterwards as well."""
        steps = x.permute(2, 0, 1)
        if state is None:  # given explicitly, so that an exported graph keeps the batch size open
            size = (self.lstm.num_layers, x.shape[0], x.shape[1])
            start = torch.zeros(size, dtype=x.dtype, device=x.device)
            state = (start, start)
        y, state = self.lstm(steps, state)
        return (y + steps).permute(1, 2, 0), state

    def start(self, batch: int) -> State:
        """Hidden and cell states of zeros, [batch, layers, channels]."""
        size = batch, self.lstm.num_layers, self.lstm.hidden_size
        zeros = next(self.lstm.parameters()).new_zeros(size)
        return {"hidden": zeros, "cell": zeros.clone()}

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """As `run`."""
        hidden, cell = (state[name].transpose(0, 1).contiguous() for name in ("hidden", "cell"))
        y, (hidden, cell) = self.run(x, (hidden, cell))
        return y, {"hidden": hidden.transpose(0, 1), "cell": cell.transpose(0, 1)}

    def stream(self) -> Stream:
        """The layers, block by block."""
        return _LSTMStream(self)


class _LSTMStream(Stream):
    """Keeps hidden and cell states."""

    def __init__(self, layer: ResidualLSTM) -> None:
        self.layer = layer
        self.state: Recurrence | None = None

    def push(self, x: Tensor, last: bool = False) -> Tensor:
        if x.shape[-1] == 0:
            return x
        y, self.state = self.layer.run(x, self.state)
        return y
