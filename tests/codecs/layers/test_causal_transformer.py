"""Attention to a window: by hand, and the same token by token."""

import random

import pytest
import torch

from intaglio.codecs.layers import causal_transformer
from intaglio.codecs.layers.causal_transformer import SPARE, CausalTransformer, RingCache
from intaglio.codecs.streaming.state import Stepper


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return CausalTransformer(16, 2, 2, window=5, layer_scale=0.5).double().eval()


def whole(layer, x):
    """In one pass of the blocks, with a mask made by hand."""
    time = x.shape[1]
    mask = torch.tensor([[0 <= i - j < layer.window for j in range(time)] for i in range(time)])
    return layer.transformer(x, mask, rotation=layer._rotation(torch.arange(time)))


def in_chunks(layer, x, sizes, seed=0):
    stepper, draw, given, start = Stepper(layer), random.Random(seed), [], 0
    state = stepper.start(len(x))
    while start < x.shape[1]:
        size = draw.choice(sizes)
        y, state = stepper(layer, x[:, start : start + size], state)
        given.append(y)
        start += size
    return torch.cat(given, dim=1)


@torch.no_grad()
def test_a_token_sees_itself_and_the_window_before_it(layer):
    x = torch.randn(2, 20, 16, dtype=torch.float64)
    torch.testing.assert_close(layer(x), whole(layer, x))
    changed = x.clone()
    changed[:, 7] = torch.randn(16)
    seen = (layer(x) != layer(changed)).any(-1)[0].nonzero().flatten().tolist()
    assert seen == list(range(7, 7 + 2 * 4 + 1))  # two blocks reach twice as far


@pytest.mark.parametrize("sizes", [[1], [2], [SPARE + 1], [SPARE + 2], [1, 3, 8, 9, 30]])
@torch.no_grad()
def test_in_chunks_it_is_equal_to_the_whole(layer, sizes):
    x = torch.randn(2, 70, 16, dtype=torch.float64)
    torch.testing.assert_close(in_chunks(layer, x, sizes), layer(x), atol=1e-12, rtol=0)


@torch.no_grad()
def test_long_sequences_go_in_pieces(layer, monkeypatch):
    x = torch.randn(1, 70, 16, dtype=torch.float64)
    expected = layer(x)
    monkeypatch.setattr(causal_transformer, "LONG", 16)
    torch.testing.assert_close(layer(x), expected, atol=1e-12, rtol=0)


def _one_slot_late(call):
    def broken(self, window):
        held = call(self, window)
        return torch.where(held >= 0, held + 1, held)

    return broken


def _forgetful(call):
    return lambda self, ring, new: ring


@pytest.mark.parametrize("window", [4, 6])
@torch.no_grad()
def test_another_window_is_noticed(layer, window):
    x = torch.randn(1, 40, 16, dtype=torch.float64)
    expected = layer(x)
    layer.window = window
    assert (in_chunks(layer, x, [1, 2]) - expected).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("method", "mutant"), [("positions", _one_slot_late), ("_written", _forgetful)]
)
@torch.no_grad()
def test_a_broken_ring_is_noticed(layer, method, mutant, monkeypatch):
    x = torch.randn(1, 40, 16, dtype=torch.float64)
    expected = layer(x)
    monkeypatch.setattr(RingCache, method, mutant(getattr(RingCache, method)))
    assert (in_chunks(layer, x, [1]) - expected).abs().max() > 1e-3


def test_branches_begin_almost_at_zero():
    layer = CausalTransformer(16, 1, 2, window=5, layer_scale=0.01)
    x = torch.randn(1, 9, 16)
    assert (layer(x) - x).abs().max() < 0.1
    assert not torch.equal(layer(x), x)


def test_a_window_of_nothing_is_refused():
    with pytest.raises(ValueError, match="a window has at least 1 token, not 0"):
        CausalTransformer(16, 1, 2, window=0)
