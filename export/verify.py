"""Comparison of an exported codec with the codec: the same tokens and signals, or no export."""

from collections.abc import Callable
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.codecs import Codec
from intaglio.export.graph_modules import EncoderGraph
from intaglio.export.graphs import Graphs
from intaglio.export.signals import signal_of

Runner = Callable[..., Tensor]  # of the encoder: signal to ids; of the decoder: inputs to signal

MAX_ERROR = 1e-4  # of a sample or of a colour of a pixel, of range 2
DRAWS = 64  # of latents moved by rounding; a tie as far off as rounding goes shows in one of six


class Verification(NamedTuple):
    """Result of a comparison.

    Attributes:
        shapes: of the inputs.
        tokens: tokens compared.
        ties: tokens that differ by rounding alone; see `by_rounding`.
        error: largest difference of a sample or of a colour of a pixel, decoding the same ids.
    """

    shapes: list[list[int]]
    tokens: int
    ties: int
    error: float


class Difference(NamedTuple):
    """What the comparison of one batch found.

    Attributes:
        tokens: tokens compared.
        ties: tokens that differ by rounding alone; see `by_rounding`.
        wrong: tokens that differ otherwise.
        error: largest difference of a sample or of a colour of a pixel, decoding the same ids.
    """

    tokens: int
    ties: int
    wrong: int
    error: float


def verify(codec: Codec, encode: Runner, decode: Runner, *, seed: int = 0) -> Verification:
    """Compare at all shapes.

    Args:
        codec: the codec itself, on the CPU.
        encode: exported encoder, signal to ids.
        decode: exported decoder, ids (and a mask or noise) to signal.
        seed: of the inputs; see `intaglio.export.signals`.

    Raises:
        ValueError: tokens differ but for ties, or signals differ by more than 1e-4.
    """
    graphs = Graphs(codec)
    generator = torch.Generator().manual_seed(seed)
    tokens = ties = 0
    worst = 0.0
    signal = signal_of(codec)
    shapes = signal.shapes()
    for shape in shapes:
        x = signal.draw(shape, generator)
        found = compare(graphs, x, encode, decode, generator)
        if found.wrong:
            raise ValueError(
                f"the exported encoder gives {found.wrong} of {found.tokens} tokens differently "
                f"at {signal.size(x)}: nothing was written"
            )
        if not found.error <= MAX_ERROR:
            raise ValueError(
                f"the exported decoder differs by {found.error:.2g} at {signal.size(x)} "
                f"(at most {MAX_ERROR:g} is allowed): nothing was written"
            )
        tokens += found.tokens
        ties += found.ties
        worst = max(worst, found.error)
    return Verification(shapes, tokens, ties, worst)


@torch.no_grad()
def compare(
    graphs: Graphs, x: Tensor, encode: Runner, decode: Runner, generator: torch.Generator
) -> Difference:
    """Compare on one batch of signals.

    Args:
        graphs: of the codec itself, on the CPU.
        x: the signals, float32.
        encode: exported encoder, signal to ids.
        decode: exported decoder, ids (and a mask or noise) to signal.
        generator: of what is drawn.

    Raises:
        ValueError: the ids are of another shape.
    """
    ids, theirs = graphs.encoder(x), encode(x)
    if ids.shape != theirs.shape:
        raise ValueError(
            f"the exported encoder gives ids of shape {list(theirs.shape)} instead of "
            f"{list(ids.shape)} for {list(x.shape)}: nothing was written"
        )
    ties = differs = ids != theirs
    if differs.any():
        ties = differs & by_rounding(graphs.encoder, x, theirs, generator)
    inputs = graphs.inputs(ids, generator)
    error = (decode(*inputs) - graphs.decoder(*inputs)).abs().max().item()
    return Difference(ids.numel(), int(ties.sum()), int((differs & ~ties).sum()), error)


@torch.no_grad()
def by_rounding(
    graph: EncoderGraph, x: Tensor, theirs: Tensor, generator: torch.Generator
) -> Tensor:
    """Which of their ids a codec can give by rounding alone, bool [batch, positions, groups].

    How far float32 leads the latents astray is measured against float64, on this processor and for
    each item. Another order of the same operations leads as far, in another direction, and the
    sums inside the quantizer round as if its weights were the next numbers of float32. So an id
    counts as reached if the quantizer gives it at random: for exact latents with normal noise of
    twice the largest error, and weights with relative noise of float32's epsilon.

    Args:
        graph: signal to ids.
        x: signals, float32.
        theirs: ids, int64 [batch, positions, groups].
        generator: of the noise.
    """
    exact = deepcopy(graph.encoder).double()(x.double())
    error = (graph.encoder(x) - exact).abs().amax((1, 2), keepdim=True)
    quantizer = deepcopy(graph.quantizer)
    tensors = [*quantizer.parameters(), *quantizer.buffers()]
    weights = [(tensor, tensor.clone()) for tensor in tensors if tensor.is_floating_point()]
    epsilon = torch.finfo(torch.float32).eps
    reached = torch.zeros_like(theirs, dtype=torch.bool)
    for _ in range(DRAWS):
        for weight, value in weights:
            weight.copy_(value * (1 + epsilon * torch.randn(value.shape, generator=generator)))
        noise = torch.randn(exact.shape, generator=generator, dtype=exact.dtype)
        reached |= quantizer.encode_ids((exact + 2 * error * noise).float()) == theirs
    return reached
