"""The two graphs of a codec that are exported, and their capture with open batch and time axes."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch._decomp.decompositions as decompositions
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from intaglio.codecs import AudioCodec


class EncoderGraph(nn.Module):
    """Waveform, float32 [batch, channels, samples], to ids, int64 [batch, positions, groups]."""

    def __init__(self, codec: AudioCodec) -> None:
        super().__init__()
        self.encoder = codec.encoder
        self.quantizer = codec.quantizer

    def forward(self, wave: Tensor) -> Tensor:
        """Ids of a waveform."""
        return self.quantizer.encode_ids(self.encoder(wave))


class DecoderGraph(nn.Module):
    """Ids, int64 [batch, positions, groups], to waveform, float32 [batch, channels, samples]."""

    def __init__(self, codec: AudioCodec) -> None:
        super().__init__()
        self.quantizer = codec.quantizer
        self.decoder = codec.decoder

    def forward(self, ids: Tensor) -> Tensor:
        """Waveform of ids; positions * hop_length samples."""
        return self.decoder(self.quantizer.decode_ids(ids))


class Graphs:
    """Both graphs of a codec, with example inputs whose sizes fit nothing by chance.

    Attributes:
        encoder: waveform to ids.
        decoder: ids to waveform.
        wave: example input of the encoder.
        ids: example input of the decoder.
    """

    def __init__(self, codec: AudioCodec) -> None:
        self.encoder = EncoderGraph(codec).eval()
        self.decoder = DecoderGraph(codec).eval()
        samples = 21 * codec.hop_length + 3
        noise = torch.randn(2, codec.channels, samples, generator=torch.Generator().manual_seed(0))
        self.wave = 0.1 * noise
        with torch.no_grad():
            self.ids = self.encoder(self.wave)

    def capture(self) -> tuple[ExportedProgram, ExportedProgram]:
        """Both graphs as exported programs; batch and time may take any size from 1 on."""
        return _capture(self.encoder, self.wave, 2), _capture(self.decoder, self.ids, 1)


def _capture(graph: nn.Module, example: Tensor, time_axis: int) -> ExportedProgram:
    dims = ({0: Dim.DYNAMIC, time_axis: Dim.DYNAMIC},)
    with torch.no_grad(), open_lstm(), warnings.catch_warnings():
        # an LSTM's list of its own weights, which stays what it is
        warnings.filterwarnings("ignore", message="The tensor attributes? .*_flat_weights")
        program = torch.export.export(graph, (example,), dynamic_shapes=dims, strict=False)
    # Capture guards against sizes of 1, which it treats as special. Nothing here depends on them,
    # as the comparison with the codec at such sizes proves before anything is written.
    program._guards_code = []
    return program


@contextmanager
def open_lstm() -> Iterator[None]:
    """Keep an LSTM's number of steps open while a graph is captured.

    torch.export finds an LSTM's output sizes by unrolling it, which fixes the number of steps. The
    one-layer form that does not unroll gives the same sizes; the captured graph holds the LSTM
    itself either way.
    """
    select = decompositions.select_one_layer_lstm_function
    decompositions.select_one_layer_lstm_function = lambda *_: decompositions.mkldnn_one_layer_lstm
    try:
        yield
    finally:
        decompositions.select_one_layer_lstm_function = select
