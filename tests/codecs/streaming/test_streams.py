"""A stream gives, in any blocks, what its layer gives for the whole signal."""

import random
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from intaglio.codecs.decoders.dac import DACDecoder
from intaglio.codecs.decoders.seanet import SEANetDecoder
from intaglio.codecs.encoders.dac import DACEncoder
from intaglio.codecs.encoders.seanet import SEANetEncoder
from intaglio.codecs.layers.conv1d import Conv1d
from intaglio.codecs.layers.transposed1d import ConvTranspose1d
from intaglio.codecs.streaming.streams import Blocks, Stream, Sum, chain

SIZES = [1, 2, 3, 6, 7, 8, 9, 39, 40, 41, 100, 399, 1003]


@pytest.fixture(autouse=True)
def _in_64_bits() -> Iterator[None]:
    """Blocks are rounded by their sizes: in 32 bits they were up to 1e-6 from the whole."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def in_blocks(stream: Stream, x: torch.Tensor, sizes: list[int]) -> list[torch.Tensor]:
    """What a stream gives for blocks of random sizes, some of them empty."""
    draw, start, given = random.Random(x.shape[-1]), 0, []
    while start < x.shape[-1]:
        size = draw.choice(sizes)
        given.append(stream.push(x[..., start : start + size]))
        start += size
    return [*given, stream.push(x[..., x.shape[-1] :], last=True)]


def assert_equal_to_the_whole(stream, x, whole, sizes=(0, 1, 2, 5, 40, 300)):
    joined = torch.cat(in_blocks(stream, x, list(sizes)), dim=-1)
    assert joined.shape == whole.shape
    torch.testing.assert_close(joined, whole, atol=1e-12, rtol=0)


@pytest.mark.parametrize("pad_mode", ["reflect", "constant"])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(7, 1, 1), (3, 1, 9), (10, 5, 1), (4, 2, 1), (1, 1, 1)]
)
@torch.no_grad()
def test_convolutions(pad_mode, causal, kernel, stride, dilation):
    layer = Conv1d(2, 3, kernel, stride=stride, dilation=dilation, causal=causal, pad_mode=pad_mode)
    nn.init.normal_(layer.conv.bias)
    for size in SIZES:
        x = torch.randn(2, 2, size)
        assert_equal_to_the_whole(layer.stream(), x, layer(x))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("stride", [1, 2, 5])
@torch.no_grad()
def test_transposed_convolutions(causal, stride):
    layer = ConvTranspose1d(2, 3, stride, causal=causal)
    nn.init.normal_(layer.conv.bias)
    for size in SIZES:
        x = torch.randn(2, 2, size)
        assert_equal_to_the_whole(layer.stream(), x, layer(x))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("pad_mode", ["reflect", "constant"])
@torch.no_grad()
def test_seanet(causal, pad_mode):
    options = {"width": 4, "lstm_layers": 1, "causal": causal, "pad_mode": pad_mode}
    encoder = SEANetEncoder(8, (2, 4, 5), **options).eval()
    decoder = SEANetDecoder(8, (2, 4, 5), **options).eval()
    for size in SIZES:
        x = torch.randn(1, 1, size)
        latents = encoder(x).transpose(1, 2)
        assert_equal_to_the_whole(encoder.stream(), x, latents)
        y = decoder(latents.transpose(1, 2))
        assert_equal_to_the_whole(decoder.stream(), latents, y, (0, 1, 3))


@pytest.mark.parametrize("slim", [False, True])
@torch.no_grad()
def test_dac_and_snac(slim):
    more = {"depthwise": True, "window": 4} if slim else {}
    encoder = DACEncoder(64, (2, 4), width=16, multiple=2, **more).eval()
    decoder = DACDecoder(64, (2, 4), width=64, noise=slim, **more).eval()
    for size in SIZES:
        x = torch.randn(1, 1, size)
        latents = encoder(x).transpose(1, 2)
        assert latents.shape[-1] == 2 * -(-size // 16)
        assert_equal_to_the_whole(encoder.stream(), x, latents)
        y = decoder(latents.transpose(1, 2))
        assert_equal_to_the_whole(decoder.stream(), latents, y, (0, 1, 3))


@torch.no_grad()
def test_a_causal_encoder_answers_without_waiting():
    """Latent t is known once its own hop is there, with zeros before the signal."""
    encoder = SEANetEncoder(8, (2, 5), width=4, causal=True, pad_mode="constant").eval()
    stream = encoder.stream()
    given = [stream.push(torch.randn(1, 1, 10)).shape[-1] for _ in range(4)]
    assert given == [1, 1, 1, 1]


def test_the_faster_part_of_a_sum_waits():
    late = Conv1d(1, 1, 5, pad_mode="constant")
    both = Sum(late.stream(), Stream())
    given = [both.push(torch.ones(1, 1, 1)).shape[-1] for _ in range(4)]
    assert given == [0, 0, 1, 1]
    assert both.push(torch.ones(1, 1, 1), last=True).shape[-1] == 3


def test_blocks_come_whole_and_the_last_may_be_filled_up():
    seen = []
    stream = chain(Blocks(lambda x: seen.append(x.shape[-1]) or x, 4, pad=True))
    for size, last in ((3, False), (6, False), (1, True)):
        stream.push(torch.ones(1, 1, size), last)
    assert seen == [0, 8, 4]


@pytest.mark.parametrize(
    "layer", [Conv1d(1, 1, 3, norm="group"), ConvTranspose1d(1, 1, 2, norm="group")]
)
def test_group_normalisation_needs_the_whole_signal(layer):
    with pytest.raises(ValueError, match="needs the whole signal"):
        layer.stream()
    assert SEANetEncoder(4, (2,), width=4, norm="group").stream() is None
    assert SEANetDecoder(4, (2,), width=4, norm="group").stream() is None
