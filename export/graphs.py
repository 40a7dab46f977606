"""The two graphs of a codec that are exported, and their capture with open axes.

The batch axis is open, and with waveforms the time axis. The height and width of images are those
that the codec was trained on: a grid decoder cannot infer rows and columns from the number of ids.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import torch
import torch._decomp.decompositions as decompositions
from torch import Generator, Tensor, nn
from torch.export import Dim, ExportedProgram

from intaglio.codecs import Codec
from intaglio.codecs.decoders.flow import FlowDecoder
from intaglio.export.graph_modules import EncoderGraph, NoiseGraph, has_noise
from intaglio.export.signals import signal_of


class Graphs:
    """Both graphs of a codec, with an example input whose sizes fit nothing by chance.

    Attributes:
        encoder: signal to ids.
        decoder: ids, and what `inputs` adds to them, to signal.
        signal: name of the signal, ``wave`` or ``image``.
        open_axes: of the signal, and of the ids.
        names: of the decoder's inputs: ``ids``, and ``mask`` or ``noise`` if it takes one.
        example: input of the encoder.

    Raises:
        ValueError: a codec that cannot be exported.
    """

    def __init__(self, codec: Codec) -> None:
        check(codec)
        generator = Generator().manual_seed(0)
        self.signal = codec.signal
        self.open_axes = signal_of(codec).open_axes
        self.encoder = EncoderGraph(codec).eval()
        self.decoder = signal_of(codec).decoder().eval()
        self.names = self.decoder.names
        self.example = 0.1 * torch.randn(*signal_of(codec).example(), generator=generator)

    def inputs(self, ids: Tensor, generator: Generator) -> tuple[Tensor, ...]:
        """What the decoder takes: ids, and at random a mask of first positions or noise."""
        if "mask" in self.names:
            kept = torch.randint(1, ids.shape[1] + 1, (len(ids), 1), generator=generator)
            return ids, torch.arange(ids.shape[1]) < kept
        if isinstance(self.decoder, NoiseGraph):
            shape = (1, self.decoder.quantizer.dim, *self.decoder.grid)
            return ids, torch.randn(*shape, generator=generator)
        return (ids,)

    def examples(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Inputs of the encoder and of the decoder, to record both with."""
        with torch.no_grad():
            ids = self.encoder(self.example)
        return (self.example,), self.inputs(ids, Generator().manual_seed(0))

    @cached_property
    def programs(self) -> tuple[ExportedProgram, ExportedProgram]:
        """Both graphs as exported programs; open axes may take any size from 1 on."""
        source, target = self.examples()
        of_signal, of_ids = self.open_axes
        return (
            capture(self.encoder, source, [of_signal]),
            capture(self.decoder, target, [of_ids, (0,)]),
        )


def check(codec: Codec) -> None:
    """Raise ValueError, in one line, if a codec cannot be exported."""
    if not codec.vocab:
        reason: str | None = "is continuous and has no tokens"
    elif any(isinstance(module, FlowDecoder) for module in codec.modules()):
        reason = "decodes by many steps of a flow, which no exported graph holds yet"
    elif any(has_noise(module) for module in codec.modules() if module is not codec.decoder):
        reason = "has a decoder with noise inside another, which no exported graph holds yet"
    else:
        reason = signal_of(codec).reason_against()
    if reason:
        raise ValueError(f"{codec.name} {reason}; use it from Python, or export another codec")


def capture(
    graph: nn.Module, examples: tuple[Tensor, ...], axes: list[tuple[int, ...]]
) -> ExportedProgram:
    """A graph with open axes; those of an example of one item stay as they are.

    Args:
        graph: what is recorded.
        examples: its inputs.
        axes: open axes of each input; none of any if empty.
    """
    dims = tuple(
        {axis: Dim.DYNAMIC for axis in opened if example.shape[axis] > 1}
        for example, opened in zip(examples, axes, strict=False)
    )
    with torch.no_grad(), open_lstm(), warnings.catch_warnings():
        # an LSTM's list of its own weights, which stays what it is
        warnings.filterwarnings("ignore", message="The tensor attributes? .*_flat_weights")
        program = torch.export.export(graph, examples, dynamic_shapes=dims, strict=False)
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
