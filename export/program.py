"""Codecs as exported programs (``.pt2``): PyTorch's own graphs, for AOT compilation and serving."""

import io
from pathlib import Path

import torch

from intaglio.export.graphs import Graphs
from intaglio.export.verify import Runner


def write(graphs: Graphs, folder: Path) -> list[Path]:
    """Write ``encoder.pt2`` and ``decoder.pt2``."""
    paths = [folder / "encoder.pt2", folder / "decoder.pt2"]
    for program, path in zip(graphs.programs, paths, strict=True):
        content = io.BytesIO()  # torch's own writer aborts the process when the disk is full
        torch.export.save(program, content)
        path.write_bytes(content.getbuffer())
    return paths


def run(folder: Path) -> tuple[Runner, Runner]:
    """Encoder and decoder as functions of tensors. Loading runs code: trust the files' source."""
    encoder, decoder = (
        torch.export.load(folder / name).module() for name in ("encoder.pt2", "decoder.pt2")
    )
    return encoder, decoder
