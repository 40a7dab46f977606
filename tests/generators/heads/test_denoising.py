"""Steps that are known beforehand: the same tokens as a plain loop, in any number at a time."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.heads import denoising
from intaglio.generators.heads.base import SamplingOptions
from intaglio.generators.heads.denoising import Denoising, StepSchedule, embedded, noise_of
from intaglio.generators.heads.diffusion import DiffusionHead
from intaglio.generators.heads.flow import FlowHead
from intaglio.generators.image.mar import HEADS, TRUNKS, mar
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.inference.logits import PLAIN, Warp
from intaglio.generators.samplers.sampler import Sampler
from intaglio.recipes.benchmarks.head import plain


def stirred(head):
    torch.manual_seed(1)
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.3)
    return head.double().requires_grad_(False)


def diffusion(prediction="eps", steps=7):
    return stirred(
        DiffusionHead(5, 3, hidden_channels=16, depth=2, prediction=prediction, steps=steps)
    )


@pytest.fixture
def case():
    hidden, null = torch.randn(2, 2, 4, 5, dtype=torch.float64)
    return hidden, null, Draws(torch.tensor([3, 8]), torch.tensor([[0, 5, 2, 9]]))


@pytest.mark.parametrize(
    "steps", [16, *(pytest.param(steps, marks=pytest.mark.slow) for steps in (64, 256))]
)
def test_mar_draws_the_tokens_of_the_plain_loop(monkeypatch, steps):
    """All 256 tokens in double precision, guided, in any number of steps."""
    monkeypatch.setitem(TRUNKS, "tiny", (1, 16, 1, 1))
    monkeypatch.setitem(HEADS, "tiny", (2, 16))
    generator = stirred(mar("tiny", channels=2, num_classes=3, prediction="eps")).eval()
    generator.head.steps = 3
    sampler = Sampler(guidance=Guidance(1.5, "linear"), steps=steps)
    found = sampler.generate(generator, torch.tensor([1]), seed=5)
    monkeypatch.setattr(DiffusionHead, "_draw", plain)
    wanted = sampler.generate(generator, torch.tensor([1]), seed=5)
    assert float(wanted.std()) > 0.1
    assert float((found - wanted).abs().max()) < 1e-9


@pytest.mark.parametrize("prediction", ["eps", "v"])
@pytest.mark.parametrize("most", [1, 16 * 16 * 8 * 3, 1 << 24])
def test_however_many_steps_are_prepared_together(monkeypatch, case, prediction, most):
    hidden, null, draws = case
    head = diffusion(prediction)
    options = SamplingOptions(null, 1.7, PLAIN)
    wanted = plain(head, hidden, draws, options)
    monkeypatch.setattr(denoising, "MOST_VALUES", most)
    found = head.sample(hidden, draws, null=null, scale=1.7)
    assert float((found - wanted).abs().max()) < 1e-9 * float(wanted.abs().max())


def test_each_item_has_its_scale_and_each_position(case):
    hidden, null, draws = case
    head = diffusion()
    scales = torch.tensor([[1.0, 1.5, 2.0, 0.5], [1.2, 1.0, 0.0, 2.5]])
    found = head.sample(hidden, draws, null=null, scale=scales)
    for item, row in enumerate(scales.tolist()):
        for place, scale in enumerate(row):
            alone = head.sample(
                hidden[item : item + 1, place : place + 1],
                Draws(draws.seeds[item : item + 1], draws.positions[:, place : place + 1]),
                null=null[item : item + 1, place : place + 1],
                scale=scale,
            )
            torch.testing.assert_close(found[item, place], alone[0, 0])


def test_noise_is_that_of_each_step_by_its_number(monkeypatch, case):
    draws = case[2]
    for most in (1, 1 << 24):
        monkeypatch.setattr(denoising, "MOST_VALUES", most)
        found = noise_of(draws, 3, 5)
        for step in range(5):
            wanted = draws.normal(Role.NOISE, 3, first=3 * step)
            assert torch.equal(found[step], wanted.flatten(0, 1))


@pytest.mark.parametrize("kind", ["diffusion", "flow"])
def test_the_loop_asks_for_no_value(case, kind):
    """It runs on tensors that have none, as it must to be recorded as a CUDA graph."""
    hidden, null, draws = case
    head = (
        diffusion() if kind == "diffusion" else stirred(FlowHead(5, 3, hidden_channels=16, depth=2))
    )
    condition, scale = embedded(head.network, hidden, SamplingOptions(null, 1.5, PLAIN))
    noise = noise_of(draws, 3, 7).double()
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        condition, noise, scale = (mode.from_tensor(one) for one in (condition, noise, scale))
        if kind == "diffusion":
            assert head.denoise(condition, noise, scale).shape == (8, 3)
        else:
            assert head.denoise(condition, noise[0], 7, scale).shape == (8, 3)


def test_modulations_are_computed_once_for_all_steps(monkeypatch, case):
    hidden, null, draws = case
    calls = []
    right = Denoising._modulations
    monkeypatch.setattr(
        Denoising,
        "_modulations",
        lambda self, times: calls.append(len(times)) or right(self, times),
    )
    diffusion(steps=9).sample(hidden, draws, null=null, scale=2.0)
    assert calls == [9]


def test_later_tokens_take_fewer_steps(monkeypatch):
    schedule = StepSchedule(50, 5)
    assert [schedule.at(time) for time in (0.0, 0.5, 1.0)] == [50, 28, 5]
    monkeypatch.setitem(TRUNKS, "tiny", (1, 16, 1, 1))
    monkeypatch.setitem(HEADS, "tiny", (1, 16))
    seen = []
    for kind, prediction in ((DiffusionHead, "v"), (FlowHead, "flow")):
        generator = stirred(mar("tiny", shape=(4,), num_classes=3, prediction=prediction)).eval()
        right = kind._draw

        def draw(self, hidden, draws, options, right=right):
            seen.append(options.steps)
            return right(self, hidden, draws, options)

        monkeypatch.setattr(kind, "_draw", draw)
        sampler = Sampler(steps=4, denoising=StepSchedule(9, 2), warp=Warp(0.5))
        tokens = sampler.generate(generator, torch.tensor([0]))
        assert bool(tokens.isfinite().all())
    assert seen == [7, 6, 4, 2] * 2
    with pytest.raises(ValueError, match="1 denoising step or more, got"):
        Sampler(denoising=StepSchedule(5, 0))
