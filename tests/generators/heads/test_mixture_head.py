"""The mixture head: torch's density, samples of it, guidance, and that it learns two bumps."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from intaglio.codecs.part import build, describe
from intaglio.generators.heads.base import SamplingOptions
from intaglio.generators.heads.mixture import MixtureHead
from intaglio.generators.inference.counter_rng import Draws
from intaglio.generators.inference.logits import PLAIN, Warp


def stirred(**options):
    """A small head whose zeros have been stirred, as if it were trained."""
    torch.manual_seed(0)
    head = MixtureHead(5, 3, components=4, **options)
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.7)
    return head.requires_grad_(False)


def known(law):
    return MixtureSameFamily(
        Categorical(logits=law.log_weights), Independent(Normal(law.mean, law.log_std.exp()), 1)
    )


def test_the_density_is_that_of_the_mixture():
    head, hidden, token = stirred(), torch.randn(7, 5), 2 * torch.randn(7, 3)
    found = head.log_prob(hidden, token)
    torch.testing.assert_close(found, known(head.mixture(hidden)).log_prob(token))
    assert torch.equal(head.loss(hidden, token), -found) and found.dtype == torch.float32
    law = head.double().mixture(hidden.double())
    assert law.mean.dtype == torch.float64
    assert float(law.log_weights.exp().sum(-1).sub(1).abs().max()) < 1e-12


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_samples_follow_the_density(temperature):
    """Shares, means and deviations of the components, with four standard errors to spare."""
    head, hidden = stirred(), torch.randn(5)
    head.linear.bias[:12] *= 40  # far apart
    draws = Draws(torch.arange(100), torch.arange(100)[None])
    found = head.sample(hidden.expand(100, 100, 5), draws, warp=Warp(temperature)).flatten(0, 1)
    law = head.mixture(hidden)
    nearest = (found.unsqueeze(1) - law.mean).norm(dim=-1).argmin(1)
    for component, share in enumerate(law.log_weights.exp().tolist()):
        own = found[nearest == component]
        assert abs(len(own) / 1e4 - share) < 4 * (share * (1 - share) / 1e4) ** 0.5
        z = (own - law.mean[component]) / law.log_std[component].exp() / temperature
        assert float(z.mean(0).abs().max()) < 4 / len(own) ** 0.5
        assert float((z.std(0) - 1).abs().max()) < 4 / (2 * len(own)) ** 0.5


def test_guidance_is_that_of_the_parameters_and_one_is_none():
    head, (hidden, null) = stirred(), torch.randn(2, 2, 4, 5)
    options = SamplingOptions(null, torch.tensor([1.0, 1.7]), PLAIN)
    law, with_it = head.distribution(hidden, options), head.mixture(hidden)
    assert torch.equal(law.mean[0], with_it.mean[0]) and torch.equal(law.log_std, with_it.log_std)
    without = head.mixture(null)
    for name in ("mean", "log_weights"):
        wanted = getattr(without, name).lerp(getattr(with_it, name), 1.7)[1]
        if name == "log_weights":
            wanted = wanted.log_softmax(-1)
        torch.testing.assert_close(getattr(law, name)[1], wanted, rtol=1e-4, atol=1e-5)


def test_items_are_drawn_alone_each_with_its_weight_and_temperature(drawn_alone):
    drawn_alone(stirred())


def test_it_learns_two_bumps():
    """Within 0.05 nat of the entropy of the data, which one Gaussian misses by 0.4."""
    torch.manual_seed(0)
    head, hidden = MixtureHead(1, 1, components=3), torch.ones(1024, 1)
    optimizer = torch.optim.Adam(head.parameters(), 6e-2)
    for _ in range(120):
        side = torch.where(torch.rand(1024, 1) < 0.3, 1.5, -0.6)
        loss = head.loss(hidden, side + 0.3 * torch.randn(1024, 1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    entropy = math.log(0.3) + math.log(2 * math.pi * math.e) / 2
    entropy -= 0.3 * math.log(0.3) + 0.7 * math.log(0.7)
    assert abs(loss.item() - entropy) < 0.1


def test_extreme_outputs_keep_their_floors():
    head, hidden, token = MixtureHead(5, 3, components=2), torch.zeros(2, 5), torch.zeros(2, 3)
    nn.init.constant_(head.linear.bias, -200.0)
    loss = head.loss(hidden, token)
    loss.sum().backward()
    assert bool(loss.isfinite().all()) and bool(head.linear.bias.grad.isfinite().all())
    torch.testing.assert_close(head.mixture(hidden).log_std.exp().square().min().item(), 1e-6)


def test_a_recipe_builds_it_again():
    again = build(describe(MixtureHead(5, 3, components=7, floor=1e-3)))
    assert (again.width, again.components, again.floor, again.tractable) == (3, 7, 1e-3, True)


def test_what_makes_no_head_is_refused():
    with pytest.raises(ValueError, match="at least 1 component and a floor above 0, got 0 and"):
        MixtureHead(5, 3, components=0)
    with pytest.raises(ValueError, match="at least 1 channel, got 0"):
        MixtureHead(5, 0)
