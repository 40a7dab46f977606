"""Codecs: as loaded for use beside as built for training, and as ONNX beside PyTorch."""

import copy
import tempfile
from pathlib import Path

import torch

from intaglio.codecs import AudioCodec
from intaglio.codecs.audio.speech_small import speech_small
from intaglio.codecs.audio.wavtokenizer import wavtokenizer
from intaglio.codecs.bundle import fold
from intaglio.export import onnx
from intaglio.export.graphs import Graphs
from intaglio.recipes.benchmarks.timing import Result, compare

SECONDS = 10


def run() -> list[Result]:
    """All comparisons, with random weights."""
    return [result for codec in (speech_small(), wavtokenizer()) for result in _results(codec)]


def _results(codec: AudioCodec) -> list[Result]:
    torch.manual_seed(0)
    codec.eval().requires_grad_(False)
    folded = copy.deepcopy(codec)
    fold(folded)
    wave = 0.1 * torch.randn(1, 1, SECONDS * codec.sample_rate)
    graphs = Graphs(folded)
    ids = graphs.encoder(wave)
    with tempfile.TemporaryDirectory() as folder:
        onnx.write(graphs, Path(folder))
        encode, decode = onnx.run(Path(folder))
        speed = f"{codec.name}, {SECONDS} s"
        return [
            compare(
                f"encode, {speed}",
                lambda: folded.encode(wave),
                lambda: codec.encode(wave),
                baseline_name="weight normalisation not folded",
            ),
            compare(
                f"encode, {speed}, ONNX",
                lambda: encode(wave),
                lambda: graphs.encoder(wave),
                baseline_name="PyTorch",
            ),
            compare(
                f"decode, {speed}, ONNX",
                lambda: decode(ids),
                lambda: graphs.decoder(ids),
                baseline_name="PyTorch",
            ),
        ]
