"""Blocks of S3: equal to the published formula, and each item by itself."""

import pytest
import torch
from torch.nn import functional as F

from intaglio.codecs.layers.memory_transformer import MemoryAttention, MemoryTransformer


def released(layer, x):
    """The published attention: rotary halves, scaled scores, and the memory of the values."""
    batch, time, dim = x.shape
    size = dim // layer.heads
    q, k, v = layer.query(x), layer.key(x), layer.value(x)
    # their pairs of channels are (i, i + half), ours are neighbours
    halves = [torch.cat([part[0::2], part[1::2]]) for part in torch.arange(dim).view(-1, size)]
    order = torch.cat(halves)
    rate = 10_000 ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angle = torch.outer(torch.arange(time, dtype=torch.float64), rate).repeat(1, 2)

    def turned(y):
        y = y[..., order].view(batch, time, layer.heads, size).transpose(1, 2)
        first, second = y.chunk(2, -1)
        return y * angle.cos() + torch.cat([-second, first], -1) * angle.sin()

    weights = (turned(q) @ turned(k).mT * size**-0.5).softmax(-1)
    attended = weights @ v.view(batch, time, layer.heads, size).transpose(1, 2)
    y = layer.out(attended.transpose(1, 2).reshape(batch, time, dim))
    taps = layer.memory.weight
    memory = F.conv1d(F.pad(v.mT, (taps.shape[-1] // 2,) * 2), taps, groups=dim)
    return y + v + memory.mT


def test_attention_with_a_memory_is_the_published_one():
    torch.manual_seed(0)
    layer = MemoryTransformer(128, 1, 2).double()
    x = torch.randn(2, 9, 128).double()
    block = layer.blocks[0]
    y = x + released(block.attention, block.attention_norm(x))
    expected = y + block.mlp(block.mlp_norm(y))
    torch.testing.assert_close(layer(x), expected, atol=1e-6, rtol=0)  # rotary tables are float32


@pytest.mark.parametrize("memory", [0, 5])
def test_an_item_is_the_same_alone_and_in_a_batch(memory):
    torch.manual_seed(1)
    layer = MemoryTransformer(64, 2, 2, memory=memory).double()
    x = torch.randn(2, 12, 64).double()
    batch = layer(x, torch.tensor([7, 12]))
    torch.testing.assert_close(batch[:1, :7], layer(x[:1, :7]), atol=1e-10, rtol=0)
    torch.testing.assert_close(batch[1:], layer(x[1:]), atol=1e-10, rtol=0)


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="3 heads do not divide 64 channels"):
        MemoryAttention(64, 3)
    with pytest.raises(ValueError, match="an odd number of taps, not 4"):
        MemoryAttention(64, 2, 4)
