"""Normal and Student-t heads: torch's densities, samples of the density, floors."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal, StudentT

from intaglio.codecs.part import build, describe
from intaglio.generators.heads.gaussian import EvidentialHead, GaussianHead
from intaglio.generators.inference.counter_rng import Draws
from intaglio.generators.inference.logits import Warp

HEADS = pytest.mark.parametrize("kind", [GaussianHead, EvidentialHead])


def stirred(kind, **options):
    """A small head whose zeros have been stirred, as if it were trained."""
    head = kind(5, 3, **options)
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.7)
    return head.requires_grad_(False)


def parameters_of(head, hidden):
    """Mean and log-variance, or the parameters of the Student-t distribution."""
    if isinstance(head, EvidentialHead):
        return head.distribution(hidden)
    mixture = head.mixture(hidden)
    return mixture.mean[..., 0, :], 2 * mixture.log_std[..., 0, :]


def student(parameters):
    """The predictive distribution, in float64."""
    location, nu, alpha, beta = (one.double() for one in parameters)
    return StudentT(2 * alpha, location, (beta * (1 + nu) / (nu * alpha)).sqrt())


def test_the_density_is_that_of_the_normal_distribution():
    head, hidden, token = stirred(GaussianHead), torch.randn(7, 5), 3 * torch.randn(7, 3)
    mean, raw = (hidden @ head.linear.weight.T + head.linear.bias).double().chunk(2, 1)
    known = Normal(mean, (raw.exp() + 1e-6).sqrt()).log_prob(token.double()).sum(1)
    found = head.log_prob(hidden, token)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), known, rtol=1e-5, atol=1e-5)
    assert torch.equal(head.loss(hidden, token), -found)


def test_the_density_is_that_of_the_predictive_distribution():
    head, hidden, token = stirred(EvidentialHead), torch.randn(7, 5), 3 * torch.randn(7, 3)
    raw = (hidden @ head.linear.weight.T + head.linear.bias).double().chunk(4, 1)
    nu, alpha, beta = (one.exp().log1p() + 1e-6 for one in raw[1:])
    known = student((raw[0], nu, 1 + alpha, beta)).log_prob(token.double()).sum(1)
    found = head.log_prob(hidden, token)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), known, rtol=1e-5, atol=1e-5)
    assert torch.equal(head.loss(hidden, token), -found)


@HEADS
def test_the_density_integrates_to_one(kind):
    head = kind(2, 1)
    nn.init.normal_(head.linear.weight)
    points = torch.tan(torch.linspace(-1.5707, 1.5707, 200_001).double())
    hidden = torch.randn(2).expand(len(points), 2)
    found = head.log_prob(hidden, points[:, None].float()).detach().double().exp()
    assert abs(float(torch.trapezoid(found, points)) - 1) < 1e-4


def test_the_first_losses():
    hidden, token = torch.randn(7, 5), torch.randn(7, 3)
    normal = Normal(0.0, math.sqrt(1 + 1e-6)).log_prob(token).sum(1)
    torch.testing.assert_close(GaussianHead(5, 3).loss(hidden, token), -normal)
    half = math.log(2) + 1e-6
    start = student(torch.tensor([0.0, half, 1 + half, half]))
    found = EvidentialHead(5, 3).loss(hidden, token)
    torch.testing.assert_close(found, -start.log_prob(token.double()).sum(1).float())


def test_the_penalty_is_in_the_loss_only():
    head, hidden, token = stirred(EvidentialHead, penalty=0.5), torch.randn(7, 5), torch.randn(7, 3)
    location, nu, alpha, _ = head.distribution(hidden)
    added = 0.5 * ((token - location).abs() * (2 * nu + alpha)).sum(1)
    torch.testing.assert_close(head.loss(hidden, token), added - head.log_prob(hidden, token))


@HEADS
def test_extreme_outputs_keep_their_floors(kind):
    head = kind(5, 3)
    nn.init.constant_(head.linear.bias, -200.0)
    hidden, token = torch.zeros(2, 5), torch.zeros(2, 3)
    loss = head.loss(hidden, token)
    loss.sum().backward()
    assert bool(loss.isfinite().all()) and bool(head.linear.bias.grad.isfinite().all())
    if kind is GaussianHead:
        torch.testing.assert_close(parameters_of(head, hidden)[1].exp(), torch.full((2, 3), 1e-6))
    else:
        parameters = head.distribution(hidden)
        assert bool((parameters.nu >= 1e-6).all()) and bool((parameters.beta >= 1e-6).all())
        assert bool((parameters.alpha > 1).all())
    draws = Draws(torch.arange(1), torch.arange(2)[None])
    assert bool(head.sample(hidden[None], draws).isfinite().all())


@HEADS
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_samples_follow_the_density(kind, temperature):
    """Kolmogorov's distance of 10,000 samples, below that of one test in 10,000."""
    head, hidden = stirred(kind), torch.randn(5)
    draws = Draws(torch.arange(100), torch.arange(100)[None])
    warp = Warp(temperature)
    found = head.sample(hidden.expand(100, 100, 5), draws, warp=warp).flatten(0, 1).double()
    assert found.shape == (10_000, 3)
    parameters = parameters_of(head, hidden)
    points = torch.tan(torch.linspace(-1.5707, 1.5707, 200_001).double())
    ranks = (torch.arange(10_000) + 0.5) / 10_000
    for channel in range(3):
        one = [part[channel].double() for part in parameters]
        known = Normal(one[0], (one[1] / 2).exp()) if kind is GaussianHead else student(one)
        # temperature scales the distance from the centre
        values = (found[:, channel] - one[0]) / temperature + one[0]
        grid = points + one[0]
        summed = torch.cumulative_trapezoid(known.log_prob(grid).exp(), grid)
        place = torch.searchsorted(grid, values.sort().values).clamp(1, len(summed)) - 1
        assert float((summed[place] - ranks).abs().max()) < 0.0223
    correlation = torch.corrcoef(found.T) - torch.eye(3)
    if kind is GaussianHead:
        assert float(correlation.abs().max()) < 4 / 100


def test_mean_and_noise_of_a_hierarchical_draw_have_the_right_shares():
    """With alpha large, the variance is known, and nu tells how wide the mean is drawn."""
    head = EvidentialHead(1, 1)
    with torch.no_grad():
        head.linear.bias.copy_(torch.tensor([0.0, math.log(math.e**0.25 - 1), 1000.0, 1000.0]))
    draws = Draws(torch.arange(100), torch.arange(100)[None])
    found = head.sample(torch.zeros(100, 100, 1), draws).detach()
    assert abs(float(found.var()) - 5.0) < 5 * 4 * math.sqrt(2 / 10_000)


@HEADS
def test_guidance_moves_the_centre_and_keeps_the_spread(kind):
    head, (hidden, null) = stirred(kind), torch.randn(2, 2, 4, 5)
    draws = Draws(torch.arange(2), torch.arange(4)[None])
    plain = head.sample(hidden, draws)
    found = head.sample(hidden, draws, null=null, scale=torch.tensor([1.0, 1.7]))
    assert torch.equal(found[0], plain[0])
    moved = 0.7 * (parameters_of(head, hidden)[0] - parameters_of(head, null)[0])[1]
    torch.testing.assert_close(found[1] - plain[1], moved, rtol=1e-4, atol=1e-4)


@HEADS
def test_items_are_drawn_alone_each_with_its_weight_and_temperature(kind, drawn_alone):
    drawn_alone(stirred(kind))


@HEADS
def test_everything_is_float32_under_autocast(kind):
    head, hidden, token = stirred(kind), torch.randn(4, 5).bfloat16(), torch.randn(4, 3)
    draws = Draws(torch.arange(1), torch.arange(4)[None])
    loss, x = head.loss(hidden, token), head.sample(hidden[None], draws)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head.loss(hidden, token), loss) and loss.dtype == torch.float32
        assert torch.equal(head.sample(hidden[None], draws), x) and x.dtype == torch.float32


@HEADS
def test_the_loss_reaches_every_weight_and_the_hidden_vector(kind):
    head, hidden = stirred(kind).requires_grad_(True), torch.randn(8, 5, requires_grad=True)
    head.loss(hidden, torch.randn(8, 3)).sum().backward()
    assert bool((head.linear.weight.grad.abs().sum(1) > 0).all())
    assert bool((hidden.grad.abs().sum(1) > 0).all())


def test_the_predictive_distribution_finds_the_spread_of_the_data():
    """Of data whose spread depends on where they are, within 20 per cent."""
    head = EvidentialHead(32, 1)
    net = nn.Sequential(nn.Linear(1, 32), nn.GELU(), nn.Linear(32, 32), nn.GELU())
    optimizer = torch.optim.Adam([*net.parameters(), *head.parameters()], 1e-2)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=300)
    for _ in range(300):
        x = 2 * torch.rand(512, 1) - 1
        y = (3 * x).sin() + (0.05 + 0.25 * x**2) * torch.randn(512, 1)
        loss = head.loss(net(x), y).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        found = student(head.distribution(net(torch.tensor([[-0.8], [0.8]])))).stddev
    assert float((found / 0.21 - 1).abs().max()) < 0.2


@HEADS
def test_a_recipe_builds_it_again(kind):
    again = build(describe(kind(5, 3, floor=1e-3)))
    assert (again.width, again.floor, again.tractable) == (3, 1e-3, True)


@HEADS
def test_what_makes_no_head_is_refused(kind):
    with pytest.raises(ValueError, match="at least 1 channel, got 0"):
        kind(5, 0)
    with pytest.raises(ValueError, match="above 0, got .*0.0"):
        kind(5, 3, floor=0.0)


def test_a_shared_variance_is_the_same_everywhere_and_learned():
    head = GaussianHead(5, 3, shared_variance=True)
    hidden = torch.randn(7, 5)
    nn.init.normal_(head.linear.weight)
    law = head.mixture(hidden)
    assert torch.equal(law.log_std, law.log_std[:1].expand_as(law.log_std))
    head.loss(hidden, torch.randn(7, 3)).sum().backward()
    assert bool((head.raw_variance.grad != 0).all())
