"""A layer that steps with explicit state gives what it gives for the whole signal."""

import random
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from intaglio.codecs.decoders.istft import ISTFTHead
from intaglio.codecs.layers.conv1d import Conv1d
from intaglio.codecs.layers.lstm import ResidualLSTM
from intaglio.codecs.layers.transposed1d import ConvTranspose1d
from intaglio.codecs.streaming.state import Stepper, StreamingLayer


@pytest.fixture(autouse=True)
def _in_64_bits() -> Iterator[None]:
    """Chunks are rounded by their sizes: in 32 bits they were up to 1e-6 from the whole."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def stepped(layer: StreamingLayer, x: torch.Tensor, multiple: int = 1, first: int = 1) -> list:
    """Outputs for chunks of random sizes; the last one may be no multiple. And the last state."""
    stepper = Stepper(layer)
    state = stepper.start(len(x))
    draw, start, given = random.Random(x.shape[-1]), 0, []
    size = multiple * first
    while start < x.shape[-1]:
        y, state = stepper(layer, x[..., start : start + size], state)
        start += size
        given.append(y)
        size = multiple * draw.choice([1, 2, 3, 11])
    return [torch.cat(given, dim=-1), state]


@pytest.mark.parametrize("pad_mode", ["reflect", "constant", "replicate"])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(7, 1, 1), (3, 1, 9), (10, 5, 1), (4, 2, 1), (1, 1, 1)]
)
@torch.no_grad()
def test_convolutions(pad_mode, kernel, stride, dilation):
    layer = Conv1d(2, 3, kernel, stride=stride, dilation=dilation, causal=True, pad_mode=pad_mode)
    nn.init.normal_(layer.conv.bias)
    first = -(-layer.shortest // stride)
    for size in (stride * first, stride * first + 1, 40 * stride, 41 * stride - 1):
        x = torch.randn(2, 2, size)
        y, state = stepped(layer, x, stride, first)
        torch.testing.assert_close(y, layer(x), atol=1e-12, rtol=0)
        shapes = {name: value.shape for name, value in Stepper(layer).start(2).items()}
        assert {name: value.shape for name, value in state.items()} == shapes


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("stride", [1, 2, 5])
@torch.no_grad()
def test_transposed_convolutions(stride, bias, groups):
    layer = ConvTranspose1d(2, 4, stride, causal=True, bias=bias, groups=groups)
    if bias:
        nn.init.normal_(layer.conv.bias)
    for size in (1, 2, 40):
        x = torch.randn(2, 2, size)
        torch.testing.assert_close(stepped(layer, x)[0], layer(x), atol=1e-12, rtol=0)


@torch.no_grad()
def test_recurrent_layers():
    layer = ResidualLSTM(3, 2)
    x = torch.randn(2, 3, 40)
    torch.testing.assert_close(stepped(layer, x)[0], layer(x), atol=1e-12, rtol=0)


@pytest.mark.parametrize("n_fft", [16, 32])
@torch.no_grad()
def test_the_inverse_transform_comes_late_and_gives_the_rest_at_the_end(n_fft):
    torch.set_default_dtype(torch.float32)  # it computes in 32 bits
    head, hop = ISTFTHead(6, n_fft, 8), 8
    stepper = Stepper(head)
    for frames in (1, 2, 3, 20):
        x, state, given = torch.randn(2, frames, 6), stepper.start(2), []
        for frame in x.split(1, dim=1):
            y, state = stepper(head, frame, state)
            assert y.shape == (2, 1, hop)
            given.append(y)
        joined = torch.cat([*given, head.rest({k[1:]: v for k, v in state.items()})], dim=-1)
        torch.testing.assert_close(joined[..., head.delay :], head(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "layer",
    [
        Conv1d(1, 1, 3),
        Conv1d(1, 1, 3, causal=True, norm="group"),
        ConvTranspose1d(1, 1, 4),
        ConvTranspose1d(1, 1, 4, causal=True, norm="group"),
    ],
)
def test_layers_that_look_ahead_are_refused(layer):
    with pytest.raises(ValueError, match="looks ahead, or needs the whole signal"):
        Stepper(layer)


@torch.no_grad()
def test_an_error_in_a_step_leaves_the_layers_as_they_were():
    layer = Conv1d(1, 1, 3, causal=True, pad_mode="constant")
    stepper = Stepper(layer)
    with pytest.raises(RuntimeError):
        stepper(layer, torch.zeros(1, 5, 4), stepper.start(1))
    assert layer(torch.zeros(1, 1, 4)).shape == (1, 1, 4)
