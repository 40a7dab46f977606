"""A head that is the last map of a denoiser."""

import pytest
import torch

from intaglio.generators.heads.field import FieldHead
from intaglio.generators.inference.counter_rng import Draws


def test_the_first_velocity_is_zero_and_its_loss_that_of_the_truth():
    head = FieldHead(8, 3)
    hidden, truth = torch.randn(5, 8, requires_grad=True), torch.randn(5, 3)
    loss = head.loss(hidden, truth)
    torch.testing.assert_close(loss, truth.square().mean(1))
    loss.sum().backward()
    assert head.linear.weight.grad.abs().sum() > 0 and not head.tractable


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_guidance_is_of_velocities(scale):
    head = FieldHead(8, 3)
    torch.nn.init.normal_(head.linear.weight)
    torch.nn.init.normal_(head.linear.bias)
    hidden, null = torch.randn(2, 4, 8).split(1)
    draws = Draws(torch.zeros(1, dtype=torch.int64), torch.arange(4)[None])
    found = head.sample(hidden, draws, null=null, scale=scale)
    unconditional = head.linear(null)
    torch.testing.assert_close(found, unconditional + scale * (head.linear(hidden) - unconditional))
    assert torch.equal(head.sample(hidden, draws), head.linear(hidden))


def test_it_counts_in_float32_under_autocast():
    head = FieldHead(8, 3)
    torch.nn.init.normal_(head.linear.weight)
    hidden = torch.randn(5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head.velocity(hidden), head.velocity(hidden.float()))
        assert head.loss(hidden.bfloat16(), torch.zeros(5, 3)).dtype == torch.float32
    torch.testing.assert_close(head.velocity(hidden), hidden @ head.linear.weight.T)


def test_no_channel_and_no_likelihood():
    with pytest.raises(ValueError, match="at least 1 channel, got 0"):
        FieldHead(8, 0)
    with pytest.raises(NotImplementedError, match="FieldHead has no likelihood"):
        FieldHead(8, 1).log_prob(torch.zeros(1, 8), torch.zeros(1, 1))
