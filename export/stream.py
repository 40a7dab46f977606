"""Causal codecs as ONNX, chunk by chunk: the state of the layers is input and output of the graphs.

Sizes are fixed: one row, and chunks of as many positions as a signal has to begin with. The state
begins with zeros. A graph does not know the end of a signal: fill the last chunk up with zeros.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from intaglio.codecs import AudioCodec, Codec
from intaglio.codecs.streaming.live import check_causal
from intaglio.codecs.streaming.state import Stepper
from intaglio.export import onnx
from intaglio.export.graphs import capture
from intaglio.export.verify import MAX_ERROR, Verification

CHUNKS = 8  # that an export is compared on
TIES = 0.001  # share of the tokens that rounding may change
NEXT = "next."  # before the name of a state, as an output


class StepGraph(nn.Module):
    """One step of the encoder or the decoder: a chunk and the state to a chunk and the next state.

    Args:
        module: encoder or decoder.
        function: calls it and the quantizer.
        chunk: example of a chunk.
    """

    def __init__(
        self, module: nn.Module, function: Callable[[Tensor], Tensor], chunk: Tensor
    ) -> None:
        super().__init__()
        self.module = module
        self.stepper, self.function, self.chunk = Stepper(module), function, chunk
        self.names = list(self.stepper.start(1))

    def forward(self, chunk: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """The next chunk; gives also the state afterwards, in the order of ``names``."""
        given = dict(zip(self.names, state, strict=True))
        y, new = self.stepper(self.function, chunk, given)
        return (y, *(new[name] for name in self.names))

    def start(self) -> tuple[Tensor, ...]:
        """State before the first chunk."""
        return tuple(self.stepper.start(1).values())


class StepGraphs:
    """Both directions of a causal codec.

    Args:
        codec: on the CPU.

    Raises:
        ValueError: it cannot be streamed.
    """

    def __init__(self, codec: Codec) -> None:
        if not isinstance(codec, AudioCodec):
            raise ValueError(f"{codec.name} cannot be streamed: it codes no sound")
        check_causal(codec)
        self.codec = codec
        encoder, quantizer, decoder = codec.encoder, codec.quantizer, codec.decoder
        self.positions = max(encoder.first_latents, decoder.first_latents)
        self.samples = self.positions * codec.hop_length
        self.encoder = StepGraph(
            nn.ModuleList([encoder, quantizer]),
            lambda x: quantizer.encode_ids(encoder(x)),
            torch.zeros(1, codec.channels, self.samples),
        )
        self.decoder = StepGraph(
            nn.ModuleList([decoder, quantizer]),
            lambda ids: decoder(quantizer.decode_ids(ids)),
            torch.zeros(1, self.positions, len(codec.vocab), dtype=torch.int64),
        )

    def card(self) -> dict[str, Any]:
        """What a caller needs to know."""
        card: dict[str, Any] = {
            "chunk": {"samples": self.samples, "positions": self.positions},
            "delay": self.codec.decoder.delay,
        }
        for name, graph in (("encoder", self.encoder), ("decoder", self.decoder)):
            states = zip(graph.names, graph.start(), strict=True)
            card[f"{name}_state"] = [
                {
                    "name": state,
                    "shape": list(value.shape),
                    "dtype": str(value.dtype).removeprefix("torch."),
                }
                for state, value in states
            ]
        return card


def write(codec: Codec, folder: Path) -> dict[str, Any]:
    """Write ``encoder_stream.onnx`` and ``decoder_stream.onnx``, compared with the codec.

    The encoder takes ``wave`` and its state and gives ``ids`` and the next state; the decoder
    takes ``ids`` and gives ``wave``. The next state has the name of the state after ``next.``.

    Returns:
        The record of ``export.json``.

    Raises:
        ValueError: the codec cannot be streamed, or the graphs differ from it.
        ModuleNotFoundError: the ONNX packages are missing.
    """
    onnx.check_installed()
    graphs = StepGraphs(codec)
    files = {}
    for graph, source, target, name in (
        (graphs.encoder, "wave", "ids", "encoder_stream.onnx"),
        (graphs.decoder, "ids", "wave", "decoder_stream.onnx"),
    ):
        program = capture(graph.eval(), (graph.chunk, *graph.start()), [])
        outputs = [target, *(NEXT + state for state in graph.names)]
        onnx.write_program(program, [source, *graph.names], outputs, folder / name)
        files[name] = (folder / name).stat().st_size
    found = verify(graphs, folder)
    record = {"format": "stream", "files": files, "verified": found._asdict()}
    return record | graphs.card()


@torch.no_grad()
def verify(graphs: StepGraphs, folder: Path) -> Verification:
    """Run the files chunk by chunk in ONNX Runtime, and compare them with the codec.

    Raises:
        ValueError: tokens differ but for ties, or samples by more than 1e-4.
    """
    encoder, decoder = (
        onnx.runner(folder / f"{name}_stream.onnx") for name in ("encoder", "decoder")
    )
    generator = torch.Generator().manual_seed(0)
    shape = 1, graphs.codec.channels, CHUNKS * graphs.samples
    wave = 0.1 * torch.randn(shape, generator=generator)
    states = [graphs.encoder.start(), graphs.decoder.start()]
    theirs = list(states)
    wrong = count = 0
    difference = []
    for chunk in wave.split(graphs.samples, dim=-1):
        found, *new = encoder(chunk, *theirs[0])
        ids, *own = graphs.encoder(chunk, *states[0])
        states[0], theirs[0] = tuple(own), tuple(new)
        wrong, count = wrong + int((ids != found).sum()), count + ids.numel()
        y, *new = decoder(ids, *theirs[1])
        expected, *own = graphs.decoder(ids, *states[1])
        states[1], theirs[1] = tuple(own), tuple(new)
        difference.append(y - expected)
    # what comes before the signal is no part of it
    error = torch.cat(difference, dim=-1)[..., graphs.codec.decoder.delay :].abs().max().item()
    if wrong > max(1, TIES * count) or not error <= MAX_ERROR:
        raise ValueError(
            f"the exported stream gives {wrong} of {count} tokens differently, and samples "
            f"{error:.2g} off: nothing was written"
        )
    return Verification([list(wave.shape)], count, wrong, error)
