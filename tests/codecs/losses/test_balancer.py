import pytest
import torch

from intaglio.codecs.losses.balancer import Balancer


def gradient(balancer, losses, weights, output):
    """Gradient at the output of the balanced losses."""
    scalar = balancer({name: loss(output) for name, loss in losses.items()}, weights, output)
    return torch.autograd.grad(scalar, output)[0]


def test_opposite_losses_of_any_size_cancel():
    output = torch.randn(3, 1, 50, requires_grad=True)
    losses = {"up": lambda x: x.sum(), "down": lambda x: -100 * x.sum()}
    total = gradient(Balancer(), losses, {"up": 1.0, "down": 1.0}, output)
    assert total.abs().max() < 1e-6


def test_weights_are_shares_of_the_gradient():
    output = torch.randn(4, 1, 30, requires_grad=True)
    first = torch.zeros(30)
    first[0] = 1.0
    second = torch.zeros(30)
    second[1] = 1.0
    losses = {"a": lambda x: 1e3 * (x * first).sum(), "b": lambda x: 1e-3 * (x * second).sum()}
    total = gradient(Balancer(size=2.0), losses, {"a": 1.0, "b": 3.0}, output)
    torch.testing.assert_close(total[:, 0, 0], torch.full((4,), 0.5))
    torch.testing.assert_close(total[:, 0, 1], torch.full((4,), 1.5))


def test_sizes_are_running_means_with_a_corrected_start():
    balancer = Balancer(decay=0.5)
    output = torch.ones(1, 1, 1, requires_grad=True)
    sizes = []
    for factor in (2.0, 6.0, 6.0):
        losses = {"a": lambda x, factor=factor: factor * x.sum()}
        sizes.append(factor / gradient(balancer, losses, {"a": 1.0}, output).item())
    # means of 2, then of 2 and 6 with weights 1/2 and 1, then with 1/4, 1/2 and 1
    assert sizes == pytest.approx([2, 14 / 3, 38 / 7])


def test_a_stored_balancer_goes_on_where_it_was():
    output = torch.ones(2, 1, 5, requires_grad=True)
    losses, weights = {"a": lambda x: x.square().sum()}, {"a": 1.0}
    one, two = Balancer(decay=0.9), Balancer(decay=0.9)
    gradient(one, {"a": lambda x: 7 * x.sum()}, weights, output)
    two.load_state_dict(one.state_dict())
    expected = gradient(one, losses, weights, output)
    torch.testing.assert_close(gradient(two, losses, weights, output), expected)
    fresh = gradient(Balancer(decay=0.9), losses, weights, output)
    assert not torch.allclose(fresh, expected)


def test_a_value_that_is_not_finite_leaves_the_means_alone():
    balancer = Balancer()
    output = torch.ones(1, 1, 2, requires_grad=True)
    weights = {"a": 1.0}
    good = gradient(balancer, {"a": lambda x: x.sum()}, weights, output)
    bad = gradient(balancer, {"a": lambda x: x.sum() * float("nan")}, weights, output)
    assert not bad.isfinite().any()
    torch.testing.assert_close(gradient(balancer, {"a": lambda x: x.sum()}, weights, output), good)
