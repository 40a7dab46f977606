"""Codecs as ONNX: one file each for encoder and decoder, any batch size, and any length of sounds.

The LSTM becomes ONNX's own LSTM node. The exporter's way, unrolling, would fix the number of steps.
"""

import importlib.util
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from intaglio.export.graphs import Graphs, open_lstm
from intaglio.export.verify import Runner

OPSET = 18
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def write(graphs: Graphs, folder: Path) -> list[Path]:
    """Write ``encoder.onnx`` (``wave`` → ``ids``) and ``decoder.onnx`` (``ids`` → ``wave``).

    Of images the signal is called ``image``; the decoder may take ``mask`` or ``noise`` after the
    ids.

    Raises:
        ModuleNotFoundError: the ONNX packages are missing.
    """
    check_installed()
    paths = [folder / "encoder.onnx", folder / "decoder.onnx"]
    names = (((graphs.signal,), "ids"), (graphs.names, graphs.signal))
    for program, (sources, target), path in zip(graphs.programs, names, paths, strict=True):
        write_program(program, sources, [target], path)
    return paths


def run(folder: Path) -> tuple[Runner, Runner]:
    """Encoder and decoder in ONNX Runtime, as functions of tensors."""
    check_installed()
    encode, decode = (runner(folder / name) for name in ("encoder.onnx", "decoder.onnx"))
    return lambda x: encode(x)[0], lambda *inputs: decode(*inputs)[0]


def runner(path: Path) -> Callable[..., list[Tensor]]:
    """A file in ONNX Runtime, as a function of its inputs that gives all of its outputs."""
    import onnxruntime

    loaded = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [source.name for source in loaded.get_inputs()]

    def called(*values: Tensor) -> list[Tensor]:
        feeds = dict(zip(names, (value.numpy() for value in values), strict=True))
        return [torch.from_numpy(value) for value in loaded.run(None, feeds)]

    return called


def write_program(
    program: ExportedProgram, sources: Sequence[str], targets: Sequence[str], path: Path
) -> None:
    """Write an exported program as ONNX.

    Args:
        program: what is written.
        sources: names of its inputs.
        targets: names of its outputs.
        path: the file.
    """
    # they report each optional package that is not installed, and constants among the outputs
    noise = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir")]
    levels = [one.level for one in noise]
    for one in noise:
        one.setLevel(logging.ERROR)
    try:
        with open_lstm(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside the exporter, not ours to mend
            exported = torch.onnx.export(
                program,
                dynamo=True,
                input_names=list(sources),
                output_names=list(targets),
                opset_version=OPSET,
                custom_translation_table={torch.ops.aten.lstm.input: _lstm_node()},
                verbose=False,
            )
    finally:
        for one, level in zip(noise, levels, strict=True):
            one.setLevel(level)
    assert exported is not None
    exported.save(path, external_data=False)


def _lstm_node() -> Callable[..., Any]:
    """Translation of PyTorch's unidirectional LSTM with biases to ONNX's."""
    from onnxscript import opset18 as op

    def reorder(weight: Any, size: int) -> Any:
        """Gates from PyTorch's order (input, forget, cell, output) to ONNX's (i, o, f, c)."""
        i, f, c, o = (op.Slice(weight, [k * size], [(k + 1) * size], [0]) for k in range(4))
        return op.Unsqueeze(op.Concat(i, o, f, c, axis=0), [0])

    def lstm(
        input: Any,
        hx: Sequence[Any],
        params: Sequence[Any],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> Any:
        assert has_biases and not bidirectional and not batch_first
        size = hx[0].shape[-1]
        y, hiddens, cells = input, [], []
        for layer in range(num_layers):
            weight, recurrent, bias, recurrent_bias = params[4 * layer : 4 * layer + 4]
            start = [op.Slice(state, [layer], [layer + 1], [0]) for state in hx]
            y, hidden, cell = op.LSTM(
                y,
                reorder(weight, size),
                reorder(recurrent, size),
                op.Concat(reorder(bias, size), reorder(recurrent_bias, size), axis=1),
                None,
                *start,
                hidden_size=size,
            )
            y = op.Squeeze(y, [1])
            hiddens.append(hidden)
            cells.append(cell)
        return y, op.Concat(*hiddens, axis=0), op.Concat(*cells, axis=0)

    return lstm


def check_installed() -> None:
    """Ask for the packages before any work.

    Raises:
        ModuleNotFoundError: one of them is not installed.
    """
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(
                f"ONNX export needs {package}: pip install 'intaglio[export]'"
            )
