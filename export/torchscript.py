"""Codecs as TorchScript, for C++ and older runtimes."""

import io
import warnings
from pathlib import Path

import torch

from intaglio.export.graphs import Graphs
from intaglio.export.verify import Runner


def write(graphs: Graphs, folder: Path) -> list[Path]:
    """Write ``encoder.ts`` and ``decoder.ts``."""
    paths = [folder / "encoder.ts", folder / "decoder.ts"]
    examples = graphs.examples()
    with torch.no_grad(), warnings.catch_warnings():
        # PyTorch advises against TorchScript, which users of C++ need; and it warns of size checks
        # within its own functions, which the comparison at many sizes covers
        warnings.filterwarnings("ignore", message=".*torch.jit.*")
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        recorded = zip((graphs.encoder, graphs.decoder), examples, paths, strict=True)
        for graph, example, path in recorded:
            content = io.BytesIO()  # torch's own writer aborts the process when the disk is full
            torch.jit.save(torch.jit.trace(graph, example, check_trace=False), content)
            path.write_bytes(content.getbuffer())
    return paths


def run(folder: Path) -> tuple[Runner, Runner]:
    """Encoder and decoder as functions of tensors. Loading runs code: trust the files' source."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*")
        encoder, decoder = (torch.jit.load(folder / name) for name in ("encoder.ts", "decoder.ts"))
    return encoder, decoder
