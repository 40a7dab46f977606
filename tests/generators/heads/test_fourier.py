"""The Fourier head: a density by construction, its integral, its bins, and few data."""

import itertools
import math

import pytest
import torch
from torch import nn

from intaglio.codecs.part import build, describe
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.heads.fourier import (
    FourierHead,
    correlation,
    density,
    roughness,
)
from intaglio.generators.inference.counter_rng import Draws
from intaglio.generators.inference.logits import Warp

VOCAB = (6, 4)


def stirred(**options):
    """A small head whose zeros have been stirred, as if it were trained."""
    head = FourierHead(5, VOCAB, **({"frequencies": 3} | options))
    for parameter in head.parameters():
        nn.init.normal_(parameter)
    return head.requires_grad_(False)


def every_token():
    return torch.tensor(list(itertools.product(*map(range, VOCAB))))


def some_series(count=1000, size=9):
    return torch.randn(count, size, dtype=torch.complex64)


def test_the_density_is_one():
    """Nowhere negative, and with an integral of 1, for a thousand series."""
    series, points = some_series(), torch.linspace(-1, 1, 1001)
    found = density(series, points)
    assert found.shape == (1000, 1001) and float(found.min()) >= 0
    integral = torch.trapezoid(found, points)
    torch.testing.assert_close(integral, torch.ones(1000), atol=1e-4, rtol=0)


def test_the_correlation_is_the_direct_sum_and_gives_the_density():
    series, points = some_series(20, 5), torch.linspace(-1, 1, 37)
    direct = [(series[:, k:] * series[:, : 5 - k].conj()).sum(1) for k in range(5)]
    found = correlation(series)
    torch.testing.assert_close(found, torch.stack(direct, 1), atol=1e-5, rtol=1e-4)
    orders = torch.arange(1, 5)
    waves = torch.exp(1j * math.pi * orders[:, None] * points)
    expected = 0.5 + (found[:, 1:] / found[:, :1].real @ waves).real
    torch.testing.assert_close(density(series, points), expected, atol=1e-5, rtol=1e-4)


def test_the_density_has_an_integral_of_one():
    series, points = some_series(50), torch.linspace(-1, 1, 4001)
    total = torch.trapezoid(density(series, points), points)
    torch.testing.assert_close(total, torch.ones(50), atol=1e-4, rtol=0)


def test_the_roughness_is_the_squared_slope():
    """Four times the integral of that of the density before it is normalised, over the period."""
    series, points = some_series(10, 4), torch.linspace(-1, 1, 4001)
    total = series.abs().square().sum(1, keepdim=True)
    slope = torch.gradient(density(series, points) * total, spacing=(points,), dim=1)[0]
    integral = torch.trapezoid(slope**2, points)
    torch.testing.assert_close(4 * integral, roughness(series), rtol=2e-3, atol=1e-3)


def test_the_first_loss_is_the_sum_of_the_logs_of_the_bins_and_learns():
    head, hidden = FourierHead(5, (64, 8)), torch.randn(7, 5)
    token = torch.stack([torch.arange(7) * 9, torch.arange(7)], dim=1)
    loss = head.loss(hidden, token)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, torch.full((7,), math.log(512)))
    loss.sum().backward()
    grown = head.linear.weight.grad.view(2, 9, 2, 5).abs().sum((2, 3))
    assert bool((grown[:, 1:] > 0).all())


def test_the_likelihood_sums_to_one_and_is_the_density_at_the_centres():
    head, hidden = stirred(reach=0.8), torch.randn(5)
    spread = hidden.expand(24, 5)
    found = head.log_prob(spread, every_token())
    assert abs(float(found.double().exp().sum()) - 1) < 1e-6
    centres = [torch.tensor([-5.0, -3, -1, 1, 3, 5]) / 6, torch.tensor([-3.0, -1, 1, 3]) / 4]
    probabilities = []
    for group, place in enumerate(centres):
        values = head.linear(hidden).view(2, 4, 2)[group].double()
        series = torch.complex(*values.unbind(-1))
        orders = torch.arange(4)
        waves = torch.exp(1j * math.pi * orders[:, None] * 0.8 * place.double())
        mass = (series @ waves).abs() ** 2
        share = mass / mass.sum() + 1e-5
        probabilities.append(share / share.sum())
    by_hand = (probabilities[0][:, None] * probabilities[1]).flatten().log()
    torch.testing.assert_close(found.double(), by_hand, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(head.loss(spread, every_token()), -found)


def test_the_roughness_is_in_the_loss_only():
    head, hidden, token = stirred(roughness=1e-3), torch.randn(7, 5), every_token()[:7]
    added = 1e-3 * roughness(head.series(hidden)).sum(1)
    torch.testing.assert_close(head.loss(hidden, token), added - head.log_prob(hidden, token))


def test_samples_follow_the_guided_and_warped_distribution():
    """Chi-square of 20,000 draws, 23 degrees of freedom, below that of one test in 10,000."""
    head, (hidden, null) = stirred(), torch.randn(2, 5)
    draws = Draws(torch.arange(200), torch.arange(100)[None])
    spread = [one.expand(200, 100, 5) for one in (hidden, null)]
    warp = Warp(temperature=2.0)
    ids = head.sample(spread[0], draws, null=spread[1], scale=1.3, warp=warp)
    assert ids.shape == (200, 100, 2) and ids.dtype == torch.int64
    pairs = zip(head.logits(hidden), head.logits(null), strict=True)
    probabilities = [((b + 1.3 * (a - b)) / 2).softmax(-1).double() for a, b in pairs]
    expected = 20_000 * (probabilities[0][:, None] * probabilities[1]).flatten()
    counts = (ids.flatten(0, 1) @ torch.tensor([4, 1])).bincount(minlength=24).double()
    often = expected >= 5
    pairs = [(counts[often], expected[often]), (counts[~often].sum(), expected[~often].sum())]
    assert sum(float(((n - e) ** 2 / e.clamp(min=1)).sum()) for n, e in pairs) < 57.1


def test_items_are_drawn_alone(drawn_alone):
    drawn_alone(stirred(), rtol=0, atol=0)


def test_everything_is_float32_under_autocast():
    head, hidden, token = stirred(), torch.randn(7, 5).bfloat16(), every_token()[:7]
    loss = head.loss(hidden, token)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head.loss(hidden, token), loss) and loss.dtype == torch.float32


def test_a_series_of_nothing_is_the_uniform_distribution():
    head = stirred()
    nn.init.zeros_(head.linear.weight)
    nn.init.zeros_(head.linear.bias)
    log_probs = head.logits(torch.randn(2, 5))
    torch.testing.assert_close(log_probs[0], torch.full((2, 6), -math.log(6)))


def two_bumps(count):
    """Positions [count, 1] and bins [count, 1] of two bumps that move against each other."""
    x = 2 * torch.rand(count, 1) - 1
    sign = 1 - 2 * (torch.rand(count, 1) < 0.5).float()
    y = sign * (x / 2 + 0.35) + 0.08 * torch.randn(count, 1)
    return x, ((y.clamp(-0.999, 0.999) + 1) * 32).long()


def nats_of(head, count, steps):
    """Nats per token of new data, after a training on ``count`` pairs."""
    torch.manual_seed(7)
    x, token = two_bumps(count)
    net = nn.Sequential(nn.Linear(1, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU())
    optimizer = torch.optim.Adam([*net.parameters(), *head.parameters()], 3e-3)
    for _ in range(steps):
        some = torch.randint(count, (128,))
        loss = head.loss(net(x[some]), token[some]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, token = two_bumps(4000)
    with torch.no_grad():
        return -float(head.log_prob(net(x), token).mean())


def test_it_needs_fewer_data_than_logits():
    logits = nats_of(CategoricalHead(64, (64,)), 200, 400)
    assert logits - nats_of(FourierHead(64, (64,)), 200, 400) > 0.3


@pytest.mark.slow
def test_it_needs_fewer_data_than_logits_and_ties_with_many():
    def both(count):
        logits = nats_of(CategoricalHead(64, (64,)), count, 700)
        return logits - nats_of(FourierHead(64, (64,)), count, 700)

    assert both(200) > 0.3
    assert abs(both(2000)) < 0.05


def test_a_recipe_builds_it_again():
    again = build(describe(FourierHead(5, VOCAB, frequencies=7, reach=1.0)))
    assert (again.vocab, again.frequencies, again.reach) == (VOCAB, 7, 1.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frequencies": 0}, "at least 1 frequency, got 0"),
        ({"reach": 1.5}, "got 0.0 and 1.5"),
        ({"roughness": -1.0}, "got -1.0 and 0.9"),
    ],
    ids=["frequencies", "reach", "roughness"],
)
def test_what_makes_no_head_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        stirred(**changes)


def test_the_first_and_the_last_bin_are_no_neighbours():
    """The density is periodic; the bins end before it comes round."""
    head = FourierHead(5, (64,))
    peak = torch.polar(torch.ones(9), -math.pi * 0.9 * 63 / 64 * torch.arange(9))
    with torch.no_grad():
        head.linear.bias.copy_(torch.view_as_real(peak).flatten())
        log_probs = head.logits(torch.zeros(5))[0]
    assert log_probs.argmax() == 63 and log_probs[0] < log_probs[63] - 4
