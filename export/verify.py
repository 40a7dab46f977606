"""Comparison of an exported codec with the codec: the same tokens and signals, or no export."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.codecs import AudioCodec, Codec, ImageCodec
from intaglio.export.graphs import Graphs

Runner = Callable[..., Tensor]  # of the encoder: signal to ids; of the decoder: inputs to signal

MAX_ERROR = 1e-4  # of a sample or of a colour of a pixel, of range 2
TIE = 1e-6  # relative change of the input under which a token may flip by rounding alone


class Verification(NamedTuple):
    """Result of a comparison.

    Attributes:
        shapes: of the inputs.
        tokens: tokens compared.
        ties: tokens that differ and that the codec itself changes when its input is rounded
            differently.
        error: largest difference of a sample or of a colour of a pixel, decoding the same ids.
    """

    shapes: list[list[int]]
    tokens: int
    ties: int
    error: float


def shapes_to_try(codec: Codec) -> list[list[int]]:
    """Shapes of inputs: waveforms of ten lengths, alone and as batches of three; images in batches.

    The lengths are the shortest ones, those around a hop, odd ones, and about two seconds.
    """
    if isinstance(codec, ImageCodec):
        return [[batch, 3, codec.image_size, codec.image_size] for batch in (1, 1, 3, 2)]
    assert isinstance(codec, AudioCodec)
    hop = codec.hop_length
    lengths = [1, 2, hop - 1, hop, hop + 1, 2 * hop]
    lengths += [5 * hop + 3, 12 * hop - 1, 33 * hop, 101 * hop + 7]
    return [[batch, codec.channels, samples] for samples in lengths for batch in (1, 3)]


def verify(codec: Codec, encode: Runner, decode: Runner, *, seed: int = 0) -> Verification:
    """Compare at all shapes.

    Args:
        codec: the codec itself, on the CPU.
        encode: exported encoder, signal to ids.
        decode: exported decoder, ids (and a mask or noise) to signal.
        seed: of the inputs: waveforms are noise and noise-modulated tones at several levels, images
            are noise and waves of colour at several contrasts.

    Raises:
        ValueError: tokens differ but for ties, or signals differ by more than 1e-4.
    """
    graphs = Graphs(codec)
    generator = torch.Generator().manual_seed(seed)
    tokens = ties = 0
    worst = 0.0
    shapes = shapes_to_try(codec)
    for shape in shapes:
        x = (_picture if codec.signal == "image" else _sound)(shape, generator)
        with torch.no_grad():
            ids = graphs.encoder(x)
            theirs = encode(x)
            _check_tokens(graphs, x, ids, theirs, generator)
            inputs = graphs.inputs(ids, generator)
            error = (decode(*inputs) - graphs.decoder(*inputs)).abs().max().item()
        tokens += ids.numel()
        ties += int((ids != theirs).sum())
        worst = max(worst, error)
        if not error <= MAX_ERROR:
            raise ValueError(
                f"the exported decoder differs by {error:.2g} at {_size(x)} "
                f"(at most {MAX_ERROR:g} is allowed): nothing was written"
            )
    return Verification(shapes, tokens, ties, worst)


def _check_tokens(
    graphs: Graphs, x: Tensor, ids: Tensor, theirs: Tensor, generator: torch.Generator
) -> None:
    if ids.shape != theirs.shape:
        raise ValueError(
            f"the exported encoder gives ids of shape {list(theirs.shape)} instead of "
            f"{list(ids.shape)} at {_size(x)}: nothing was written"
        )
    differs = ids != theirs
    for _ in range(8):
        if not differs.any():
            return
        noise = torch.randn(x.shape, generator=generator)
        differs &= graphs.encoder(x * (1 + TIE * noise)) == ids
    if differs.any():
        raise ValueError(
            f"the exported encoder gives {int(differs.sum())} of {ids.numel()} tokens differently "
            f"at {_size(x)}: nothing was written"
        )


def _size(x: Tensor) -> str:
    """Of a signal, for people."""
    if x.dim() == 3:
        return f"{x.shape[-1]} samples"
    return f"{x.shape[0]} x {x.shape[2]} x {x.shape[3]} pixels"


def _sound(shape: list[int], generator: torch.Generator) -> Tensor:
    noise = torch.randn(shape, generator=generator)
    pitch = 0.01 + 0.05 * torch.rand(shape[0], 1, 1, generator=generator)
    tone = torch.sin(2 * torch.pi * pitch * torch.arange(shape[-1]))
    level = 10 ** (-2 * torch.rand(shape[0], 1, 1, generator=generator))
    return level * (0.5 * tone + 0.1 * noise).clamp(-1, 1)


def _picture(shape: list[int], generator: torch.Generator) -> Tensor:
    noise = torch.randn(shape, generator=generator)
    rows, columns, phase = torch.rand(3, *shape[:2], 1, 1, generator=generator)
    down, across = (torch.linspace(0, 1, size) for size in shape[2:])
    waves = torch.sin(20 * (rows * down.unsqueeze(1) + columns * across + phase))
    contrast = 10 ** (-torch.rand(shape[0], 1, 1, 1, generator=generator))
    return contrast * (0.7 * waves + 0.2 * noise).clamp(-1, 1)
