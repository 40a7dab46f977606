"""MAR's network against its formulas written out, and what it is before training."""

import math

import pytest
import torch
from torch.nn import functional as F

from intaglio.generators.heads.denoiser import Denoiser


def stirred():
    network = Denoiser(5, 3, 6, hidden_channels=8, depth=2)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


def linear(state, name, x):
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def by_hand(network, x, step, hidden):
    """With the waves of the steps 0 to 999 and the order shift, scale, gate."""
    state = dict(network.named_parameters())
    rate = torch.exp(-math.log(10_000) * torch.arange(128) / 128)
    angles = step[:, None] * rate
    waves = torch.cat([angles.cos(), angles.sin()], dim=1)
    time = linear(state, "time_embedding.2", F.silu(linear(state, "time_embedding.0", waves)))
    y = F.silu(time + linear(state, "condition_embedding", hidden))
    x = linear(state, "input_projection", x)
    for n in range(2):
        block = f"blocks.{n}"
        shift, scale, gate = linear(state, f"{block}.modulation.linear", y).chunk(3, dim=1)
        norm = F.layer_norm(
            x, (8,), state[f"{block}.norm.weight"], state[f"{block}.norm.bias"], 1e-6
        )
        h = F.silu(linear(state, f"{block}.network.0", norm * (1 + scale) + shift))
        x = x + gate * linear(state, f"{block}.network.2", h)
    shift, scale = linear(state, "final_modulation.linear", y).chunk(2, dim=1)
    return linear(state, "out", F.layer_norm(x, (8,), eps=1e-6) * (1 + scale) + shift)


def test_the_formulas():
    network, x, hidden = stirred(), torch.randn(4, 3), torch.randn(4, 5)
    step = torch.tensor([0.0, 3.0, 500.0, 999.0])
    found = network(x, step / 1000, network.condition_embedding(hidden))
    assert found.shape == (4, 6)
    torch.testing.assert_close(found, by_hand(network, x, step, hidden), atol=2e-4, rtol=1e-4)


def test_one_time_for_all_is_that_time_for_each():
    network, x, condition = stirred(), torch.randn(4, 3), torch.randn(4, 8)
    each = network(x, torch.full((4,), 0.3), condition)
    torch.testing.assert_close(network(x, torch.tensor([0.3]), condition), each)


def test_at_the_start_it_says_zero_and_learns():
    network = Denoiser(5, 3, 6, hidden_channels=8, depth=2)
    out = network(torch.randn(4, 3), torch.rand(4), network.condition_embedding(torch.randn(4, 5)))
    assert torch.equal(out, torch.zeros(4, 6))
    out.sum().backward()
    assert float(network.out.weight.grad.abs().sum()) > 0


def test_no_channel_is_refused():
    with pytest.raises(ValueError, match="at least 1 channel, got 0"):
        Denoiser(5, 0, 0, hidden_channels=8, depth=1)
