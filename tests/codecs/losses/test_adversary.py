"""Adversary: the published compositions, the flow of gradients, and that it learns."""

import json
from collections.abc import Iterator

import pytest
import torch
from torch.nn import functional as F

from intaglio.codecs.discriminators.combined import CombinedDiscriminator
from intaglio.codecs.discriminators.period import MultiPeriodDiscriminator
from intaglio.codecs.discriminators.stft import (
    MultiBandDiscriminator,
    MultiResolutionDiscriminator,
)
from intaglio.codecs.losses.adversarial import HingeLoss, LeastSquaresLoss
from intaglio.codecs.losses.adversary import Adversary
from intaglio.codecs.losses.matching import FeatureMatchingLoss
from intaglio.codecs.part import build, describe


def periods() -> Adversary:
    return Adversary(
        MultiPeriodDiscriminator([2, 3], channels=[4, 8, 8]),
        HingeLoss(),
        matching=FeatureMatchingLoss(average=True, logits=True, first_layer=1),
    )


def resolutions() -> Adversary:
    return Adversary(
        MultiResolutionDiscriminator([64, 32], channels=4),
        HingeLoss(),
        matching=FeatureMatchingLoss(average=True, logits=True),
        weight=0.1,
        matching_weight=0.1,
    )


def dac() -> Adversary:
    parts = [
        MultiPeriodDiscriminator([2, 3], channels=[4, 8]),
        MultiBandDiscriminator(
            [64], channels=4, edges=[0.0, 0.5, 1.0], window="rectangular", match_stride=False
        ),
    ]
    return Adversary(
        CombinedDiscriminator(parts, normalize=True),
        LeastSquaresLoss(),
        matching=FeatureMatchingLoss(),
        matching_weight=2.0,
    )


ALL = [periods, resolutions, dac]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Convolutions as small as these gain nothing from threads and lose much on busy cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def signals() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    real, fake = 0.3 * torch.randn(2, 2, 1, 500)
    return real, fake


@pytest.mark.parametrize("make", [periods, resolutions])
def test_the_vocos_terms(make, signals):
    """Hinge and matching, summed over the sub-discriminators and divided by their number."""
    adversary = make()
    real, fake = (adversary.discriminator(x) for x in signals)
    number = len(fake.logits)
    first = 1 if make is periods else 0
    discriminator = generator = matching = torch.zeros(())
    for i in range(number):
        discriminator = discriminator + torch.clamp(1 - real.logits[i], min=0).mean()
        discriminator = discriminator + torch.clamp(1 + fake.logits[i], min=0).mean()
        generator = generator + torch.clamp(1 - fake.logits[i], min=0).mean()
        maps = zip(
            [*real.features[i], real.logits[i]], [*fake.features[i], fake.logits[i]], strict=True
        )
        matching = matching + sum((r - f).abs().mean() for r, f in list(maps)[first:])
    losses = adversary.generator_losses(*signals)
    torch.testing.assert_close(adversary.discriminator_loss(*signals), discriminator / number)
    torch.testing.assert_close(losses["adversarial"], generator / number)
    torch.testing.assert_close(losses["matching"], matching / number)


def test_the_dac_terms(signals):
    adversary = dac()
    real, fake = (adversary.discriminator(x) for x in signals)
    losses = adversary.generator_losses(*signals)
    adversarial = sum(((1 - scores) ** 2).mean() for scores in fake.logits)
    matching = sum(
        F.l1_loss(f, r)
        for ours, theirs in zip(fake.features, real.features, strict=True)
        for f, r in zip(ours, theirs, strict=True)
    )
    torch.testing.assert_close(losses["adversarial"], adversarial)
    torch.testing.assert_close(losses["matching"], matching)
    expected = sum((scores**2).mean() for scores in fake.logits)
    expected += sum(((1 - scores) ** 2).mean() for scores in real.logits)
    torch.testing.assert_close(adversary.discriminator_loss(*signals), expected)


@pytest.mark.parametrize("make", ALL)
def test_the_generator_gets_gradients_and_the_original_none(make, signals):
    adversary = make().requires_grad_(False)
    real, fake = (x.requires_grad_() for x in signals)
    for loss in adversary.generator_losses(real, fake).values():
        real_gradient, fake_gradient = torch.autograd.grad(
            loss, (real, fake), retain_graph=True, allow_unused=True
        )
        assert real_gradient is None
        assert torch.isfinite(fake_gradient).all()
        assert (fake_gradient.abs().amax(dim=-1) > 0).all()


@pytest.mark.parametrize("make", ALL)
def test_the_discriminator_gets_gradients_and_the_signals_none(make, signals):
    adversary = make()
    real, fake = (x.requires_grad_() for x in signals)
    adversary.discriminator_loss(real, fake).backward()
    assert real.grad is None
    assert fake.grad is None
    assert all(p.grad is not None for p in adversary.parameters())
    assert any(p.grad.abs().max() > 0 for p in adversary.parameters())


def test_the_original_is_judged_without_a_graph(signals):
    """The matching term must not train the discriminator through its view of the original."""
    adversary = dac()
    real, fake = signals
    grad_modes = []
    adversary.discriminator.register_forward_hook(
        lambda *_: grad_modes.append(torch.is_grad_enabled())
    )
    adversary.generator_losses(real, fake)
    assert sorted(grad_modes) == [False, True]


def test_without_matching(signals):
    adversary = Adversary(MultiPeriodDiscriminator([2], channels=[4]), HingeLoss())
    assert list(adversary.generator_losses(*signals)) == ["adversarial"]


@pytest.mark.parametrize("make", ALL)
def test_finite_float32_losses_under_autocast(make, signals):
    adversary = make()
    real, fake = signals
    with torch.autocast("cpu", torch.bfloat16):
        losses = {
            "discriminator": adversary.discriminator_loss(real, fake),
            **adversary.generator_losses(real, fake.bfloat16()),
        }
    exact = {
        "discriminator": adversary.discriminator_loss(real, fake),
        **adversary.generator_losses(real, fake),
    }
    for name, loss in losses.items():
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, exact[name], rtol=0.05, atol=0.05)


@pytest.mark.parametrize("make", ALL)
def test_a_batch_is_the_mean_of_its_items(make, signals):
    adversary = make()
    real, fake = signals
    batch = adversary.generator_losses(real, fake)
    singles = [adversary.generator_losses(real[i : i + 1], fake[i : i + 1]) for i in range(2)]
    for name, loss in batch.items():
        torch.testing.assert_close(loss, torch.stack([single[name] for single in singles]).mean())


@pytest.mark.parametrize("make", ALL)
def test_the_recipe_builds_an_equal_adversary(make, signals):
    adversary = make()
    recipe = json.loads(json.dumps(describe(adversary)))
    again = build(recipe)
    again.load_state_dict(adversary.state_dict())
    assert describe(again) == recipe
    assert (again.weight, again.matching_weight) == (adversary.weight, adversary.matching_weight)
    torch.testing.assert_close(
        again.generator_losses(*signals), adversary.generator_losses(*signals)
    )


@pytest.mark.parametrize("make", ALL)
def test_it_learns_to_tell_a_sine_from_noise(make):
    torch.manual_seed(1)
    adversary = make()
    optimizer = torch.optim.AdamW(adversary.parameters(), lr=1e-2)
    phases = 6.283 * torch.rand(2, 1, 1)
    sine = 0.5 * torch.sin(0.2 * torch.arange(300) + phases)
    losses = []
    for _ in range(30):
        loss = adversary.discriminator_loss(sine, 0.35 * torch.randn(sine.shape))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
