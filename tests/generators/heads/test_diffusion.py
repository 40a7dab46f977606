"""The diffusion head against the published formulas written out, for the loss and for sampling."""

import math

import pytest
import torch

from intaglio.codecs.part import build, describe
from intaglio.generators.heads.diffusion import DiffusionHead
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.inference.logits import Warp

BOTH = pytest.mark.parametrize("prediction", ["eps", "v"])


def stirred(**changes):
    """A small head whose zeros have been stirred, as if it were trained."""
    head = DiffusionHead(5, 3, **({"hidden_channels": 8, "depth": 1} | changes))
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return head


def share(time):
    return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2


def kept():
    """Share of the signal's variance left after each of the 1000 steps."""
    left = []
    for step in range(1000):
        beta = min(1 - share((step + 1) / 1000) / share(step / 1000), 0.999)
        left.append((left[-1] if left else 1.0) * (1 - beta))
    return left


KEPT = kept()


def noise_in(prediction, x, out, left):
    """Noise that a prediction implies."""
    if prediction == "eps":
        return out
    return left**0.5 * out + (1 - left) ** 0.5 * x


def step_back(x, eps, spread, left, before, lowest):
    """Mean and variance by DDPM's formulas in the noise."""
    beta = 1 - left / before
    mean = (x - beta / (1 - left) ** 0.5 * eps) / (1 - beta) ** 0.5
    low = math.log(lowest)
    return mean, ((spread + 1) / 2 * (math.log(beta) - low) + low).exp()


def loss_by_hand(head, hidden, token, step, noise):
    """Mean squared error plus the variational term in bits, one token."""
    left, before = KEPT[step], KEPT[step - 1] if step else 1.0
    x = left**0.5 * token + (1 - left) ** 0.5 * noise
    conditional = head.network.condition_embedding(hidden[None])
    out = head.network(x[None].float(), torch.tensor([step / 1000]), conditional)[0].double()
    out, spread = out[:3], out[3:]
    target = noise
    if head.prediction == "v":
        target = left**0.5 * noise - (1 - left) ** 0.5 * token
    error = ((out - target) ** 2).mean()
    at, earlier = (KEPT[1], KEPT[0]) if step == 0 else (left, before)
    lowest = (1 - at / earlier) * (1 - earlier) / (1 - at)
    eps = noise_in(head.prediction, x, out, left)
    mean, variance = step_back(x, eps, spread, left, before, lowest)
    predicted = torch.distributions.Normal(mean, variance.sqrt())
    if step == 0:
        inside = predicted.cdf(token + 1 / 255) - predicted.cdf(token - 1 / 255)
        return error - inside.clamp(min=1e-12).log().mean() / math.log(2)
    true, _ = step_back(x, noise, spread, left, before, lowest)
    true = torch.distributions.Normal(true, torch.full((3,), lowest).double().sqrt())
    return error + torch.distributions.kl_divergence(true, predicted).mean() / math.log(2)


@BOTH
def test_the_loss_by_hand(prediction):
    head = stirred(prediction=prediction)
    hidden, token, noise = torch.randn(5, 5), torch.randn(5, 3), torch.randn(5, 3)
    steps = [0, 1, 300, 700, 950]
    found = head.loss_at(hidden, token, torch.tensor(steps), noise)
    assert found.dtype == torch.float32
    by_hand = [
        loss_by_hand(head, hidden[n], token[n].double(), step, noise[n].double())
        for n, step in enumerate(steps)
    ]
    torch.testing.assert_close(found.double(), torch.stack(by_hand), rtol=2e-3, atol=1e-4)


@BOTH
def test_the_variational_term_moves_the_variance_only(prediction):
    head = stirred(prediction=prediction)
    hidden, token, noise = torch.randn(6, 5), torch.randn(6, 3), torch.randn(6, 3)
    step = torch.tensor([0, 1, 200, 500, 800, 990])
    head.loss_at(hidden, token, step, noise).sum().backward()
    found = head.network.out.weight.grad.clone()
    left = torch.tensor(KEPT)[step, None]
    x = left.sqrt() * token + (1 - left).sqrt() * noise
    out = head.network(x, step / 1000, head.network.condition_embedding(hidden))[:, :3]
    target = noise if prediction == "eps" else left.sqrt() * noise - (1 - left).sqrt() * token
    head.zero_grad()
    (out - target).square().mean(1).sum().backward()
    torch.testing.assert_close(found[:3], head.network.out.weight.grad[:3], rtol=1e-4, atol=1e-4)
    assert float(found[3:].abs().min()) > 0


@BOTH
def test_the_first_squared_error_is_that_of_the_target(prediction, monkeypatch):
    head = DiffusionHead(5, 3, hidden_channels=8, depth=2, prediction=prediction)
    token, noise = torch.randn(2, 4, 3)
    step = torch.tensor([1, 300, 600, 900])
    found = head.loss_at(torch.randn(4, 5), token, step, noise)
    for n, at in enumerate(step.tolist()):
        by_hand = loss_by_hand(head, torch.randn(5), token[n].double(), at, noise[n].double())
        torch.testing.assert_close(found[n].double(), by_hand, rtol=2e-3, atol=1e-4)
    monkeypatch.setattr("intaglio.generators.heads.diffusion._divergence", lambda d, *_: 0 * d)
    target = noise
    if prediction == "v":
        left = torch.tensor(KEPT)[step, None]
        target = left.sqrt() * noise - (1 - left).sqrt() * token
    found = head.loss_at(torch.randn(4, 5), token, step, noise)
    torch.testing.assert_close(found, target.square().mean(1))


def test_each_token_is_learned_at_several_times(monkeypatch):
    head, seen = stirred(repeats=4), []

    def loss_at(hidden, token, step, noise):
        seen.append((hidden, token, step, noise))
        return torch.arange(len(token)).float()

    monkeypatch.setattr(head, "loss_at", loss_at)
    hidden, token = torch.randn(500, 5), torch.randn(500, 3)
    loss = head.loss(hidden, token)
    torch.testing.assert_close(loss, torch.arange(500) + 750.0)  # mean of n + 0, 500, 1000, 1500
    ((conditional, tokens, step, noise),) = seen
    for part in range(4):
        place = slice(500 * part, 500 * (part + 1))
        assert torch.equal(conditional[place], hidden) and torch.equal(tokens[place], token)
    assert 0 <= step.min() < 10 and 990 <= step.max() < 1000
    assert abs(step.double().mean() - 499.5) < 4 * 289 / 2000**0.5
    assert noise.unique().numel() == noise.numel() and abs(noise.std() - 1) < 0.05


def sample_by_hand(head, hidden, draws, *, null=None, scale=1.0, temperature=1.0):
    """Ancestral steps of one item, in float64."""
    steps = head.steps
    times = [round(n * 999 / (steps - 1)) for n in range(steps)]
    numbers = draws.normal(Role.NOISE, 3 * steps).double()[0].unflatten(-1, (steps, 3))
    x = numbers[:, 0]
    for n in reversed(range(steps)):
        left, before = KEPT[times[n]], KEPT[times[n - 1]] if n else 1.0

        def outputs(hidden, x=x, time=times[n]):
            out = head.network(
                x.float(), torch.tensor([time / 1000]), head.network.condition_embedding(hidden)
            )
            return out.double()

        conditional = outputs(hidden)
        eps = noise_in(head.prediction, x, conditional[:, :3], left)
        if null is not None:
            unconditional = noise_in(head.prediction, x, outputs(null)[:, :3], left)
            eps = unconditional + scale * (eps - unconditional)
        lowest = (1 - left / before) * (1 - before) / (1 - left) if n else 1.0
        mean, variance = step_back(x, eps, conditional[:, 3:], left, before, lowest)
        x = mean
        if n:
            x = mean + temperature * variance.sqrt() * numbers[:, steps - n]
    return x


@BOTH
def test_sampling_by_hand(prediction):
    head = stirred(prediction=prediction, steps=7)
    for parameter in head.network.out.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    hidden, null = torch.randn(2, 1, 4, 5)
    draws = Draws(torch.tensor([3]), torch.arange(4)[None])
    plain = head.sample(hidden, draws)
    assert plain.shape == (1, 4, 3) and plain.dtype == torch.float32
    by_hand = sample_by_hand(head, hidden[0], draws)
    torch.testing.assert_close(plain[0].double(), by_hand, rtol=2e-3, atol=2e-3)
    settings = {"null": null, "scale": 1.7, "warp": Warp(temperature=0.6)}
    by_hand = sample_by_hand(head, hidden[0], draws, null=null[0], scale=1.7, temperature=0.6)
    found = head.sample(hidden, draws, **settings)[0].double()
    torch.testing.assert_close(found, by_hand, rtol=2e-3, atol=2e-3)
    assert float((found - plain[0]).detach().abs().min()) > 0.001


def test_items_are_drawn_alone_each_with_its_weight_and_temperature(drawn_alone):
    head = stirred(steps=5)
    hidden, null, scales, draws, together = drawn_alone(head, rtol=1e-4, atol=1e-4)
    mixed = torch.randperm(4)
    other = Draws(draws.seeds, draws.positions[:, mixed])
    found = head.sample(hidden[:, mixed], other, null=null[:, mixed], scale=scales)
    torch.testing.assert_close(found[[0, 2]], together[[0, 2]][:, mixed], rtol=1e-4, atol=1e-4)


def test_a_scale_of_one_is_no_guidance_to_the_bit():
    head, (hidden, null) = stirred(steps=5), torch.randn(2, 2, 4, 5)
    draws = Draws(torch.arange(2), torch.arange(4)[None])
    assert torch.equal(head.sample(hidden, draws, null=null), head.sample(hidden, draws))


def test_one_step_is_a_sample_too():
    head = stirred(steps=1)
    x = head.sample(torch.randn(2, 4, 5), Draws(torch.arange(2), torch.arange(4)[None]))
    assert x.shape == (2, 4, 3) and bool(x.isfinite().all())


@BOTH
def test_everything_is_float32_under_autocast(prediction):
    head = stirred(prediction=prediction, steps=3)
    hidden, token, noise = torch.randn(4, 5), torch.randn(4, 3), torch.randn(4, 3)
    draws = Draws(torch.arange(1), torch.arange(4)[None])
    step = torch.tensor([0, 300, 600, 999])
    loss = head.loss_at(hidden.bfloat16(), token, step, noise)
    x = head.sample(hidden[None].bfloat16(), draws, null=hidden[None].flip(1), scale=2.0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head.loss_at(hidden.bfloat16(), token, step, noise), loss)
        again = head.sample(hidden[None].bfloat16(), draws, null=hidden[None].flip(1), scale=2.0)
        assert torch.equal(again, x) and x.dtype == torch.float32


def test_the_loss_reaches_every_weight_and_the_hidden_vector():
    head, hidden = stirred(), torch.randn(64, 5, requires_grad=True)
    head.loss(hidden, torch.randn(64, 3)).sum().backward()
    assert bool((hidden.grad.abs().sum(1) > 0).all())
    for name, parameter in head.named_parameters():
        assert float(parameter.grad.abs().sum()) > 0, name


def test_it_has_no_likelihood():
    head = DiffusionHead(5, 3, hidden_channels=8, depth=1)
    assert not head.tractable
    with pytest.raises(NotImplementedError, match="DiffusionHead has no likelihood"):
        head.log_prob(torch.zeros(1, 5), torch.zeros(1, 3))


def test_a_recipe_builds_it_again():
    again = build(
        describe(DiffusionHead(5, 3, hidden_channels=8, depth=1, prediction="eps", steps=9))
    )
    assert (again.width, again.prediction, again.steps) == (3, "eps", 9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prediction": "x"}, "eps or v, got 'x'"),
        ({"repeats": 0}, "1 repeat is needed, got 0"),
        ({"steps": 1001}, "1 to 1000 steps, got 1001"),
    ],
    ids=["prediction", "repeats", "steps"],
)
def test_what_makes_no_head_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        stirred(**changes)
