"""The flow head: its loss and its Euler steps written out, shifted times, renormalised guidance."""

import pytest
import torch

from intaglio.codecs.part import build, describe
from intaglio.generators.heads import flow
from intaglio.generators.heads.flow import FlowHead, renormalised
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.inference.logits import Warp


def stirred(**changes):
    """A small head whose zeros have been stirred, as if it were trained."""
    head = FlowHead(5, 3, **({"hidden_channels": 8, "depth": 1, "steps": 4} | changes))
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return head.requires_grad_(False)


def velocity(head, x, time, hidden):
    return head.network(x, time, head.network.condition_embedding(hidden))


def test_the_loss_by_hand():
    head, hidden = stirred(), torch.randn(4, 5)
    token, noise = torch.randn(2, 4, 3)
    time = torch.tensor([0.0, 0.2, 0.7, 1.0])
    x = (1 - time[:, None]) * token + time[:, None] * noise
    by_hand = ((velocity(head, x, time, hidden) - (noise - token)) ** 2).mean(1)
    found = head.loss_at(hidden, token, time, noise)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, by_hand)


def test_the_first_loss_is_the_square_of_the_velocity():
    head = FlowHead(5, 3, hidden_channels=8, depth=2)
    token, noise = torch.randn(2, 4, 3)
    found = head.loss_at(torch.randn(4, 5), token, torch.rand(4), noise)
    torch.testing.assert_close(found, (noise - token).square().mean(1))


@pytest.mark.parametrize("time", ["uniform", "logit-normal"])
def test_each_token_is_learned_at_several_times(time, monkeypatch):
    head, seen = stirred(repeats=3, time=time), []

    def loss_at(hidden, token, time, noise):
        seen.append((hidden, token, time, noise))
        return torch.arange(len(token)).float()

    monkeypatch.setattr(head, "loss_at", loss_at)
    hidden, token = torch.randn(1000, 5), torch.randn(1000, 3)
    torch.testing.assert_close(head.loss(hidden, token), torch.arange(1000) + 1000.0)
    ((conditions, tokens, times, noise),) = seen
    assert torch.equal(conditions, torch.cat([hidden] * 3)) and torch.equal(tokens[2000:], token)
    assert 0 < times.min() and times.max() < 1
    assert noise.unique().numel() == noise.numel() and abs(noise.std() - 1) < 0.05
    quantiles = times if time == "uniform" else torch.special.ndtr(times.logit())
    ranks = (torch.arange(3000) + 0.5) / 3000
    assert float((quantiles.sort().values - ranks).abs().max()) < 2.23 / 3000**0.5


def sample_by_hand(head, hidden, draws, *, null=None, scale=1.0, temperature=1.0):
    """Euler steps of one item."""
    x = temperature * draws.normal(Role.NOISE, 3)[0]
    s = torch.arange(head.steps + 1) / head.steps
    times = 1 - s / (s + head.shift - head.shift * s)
    for start, end in zip(times[:-1], times[1:], strict=True):
        v = velocity(head, x, start[None], hidden)
        if null is not None:
            under, unconditional = v, velocity(head, x, start[None], null)
            v = unconditional + scale * (under - unconditional)
            if head.renormalised:
                v = v * (under.norm(dim=1) / v.norm(dim=1)).clamp(max=1)[:, None]
        x = x + (end - start) * v
    return x


@pytest.mark.parametrize("changes", [{}, {"shift": 3.0}, {"renormalised": True}], ids=str)
def test_sampling_by_hand(changes):
    head, (hidden, null) = stirred(**changes), torch.randn(2, 1, 40, 5)
    draws = Draws(torch.tensor([3]), torch.arange(40)[None])
    plain = head.sample(hidden, draws)
    assert plain.shape == (1, 40, 3) and plain.dtype == torch.float32
    torch.testing.assert_close(plain[0], sample_by_hand(head, hidden[0], draws))
    found = head.sample(hidden, draws, null=null, scale=1.7, warp=Warp(0.6))
    by_hand = sample_by_hand(head, hidden[0], draws, null=null[0], scale=1.7, temperature=0.6)
    torch.testing.assert_close(found[0], by_hand)


def test_a_field_that_points_at_one_place_leads_there_in_one_step(monkeypatch):
    head, goal = stirred(steps=1), torch.tensor([1.0, -2.0, 0.5])
    monkeypatch.setattr(flow, "Denoising", lambda *_, **__: lambda number, x: x - goal)
    x = head.sample(torch.randn(2, 4, 5), Draws(torch.arange(2), torch.arange(4)[None]))
    torch.testing.assert_close(x, goal.expand(2, 4, 3))


def test_renormalised_guidance_turns_but_does_not_lengthen():
    under = torch.tensor([[3.0, 4.0], [3.0, 4.0], [0.0, 0.0]])
    mixed = torch.tensor([[0.0, 10.0], [1.0, 0.0], [0.0, 0.0]])
    expected = torch.tensor([[0.0, 5.0], [1.0, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(renormalised(mixed, under), expected)


def test_items_are_drawn_alone_each_with_its_weight_and_temperature(drawn_alone):
    drawn_alone(stirred(renormalised=True))


def test_a_scale_of_one_is_no_guidance_to_the_bit():
    head, (hidden, null) = stirred(), torch.randn(2, 2, 4, 5)
    draws = Draws(torch.arange(2), torch.arange(4)[None])
    assert torch.equal(head.sample(hidden, draws, null=null), head.sample(hidden, draws))


def test_everything_is_float32_under_autocast():
    head, hidden, time = stirred(), torch.randn(4, 5).bfloat16(), torch.rand(4)
    token, noise = torch.randn(2, 4, 3)
    draws = Draws(torch.arange(1), torch.arange(4)[None])
    loss, x = head.loss_at(hidden, token, time, noise), head.sample(hidden[None], draws)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head.loss_at(hidden, token, time, noise), loss)
        assert torch.equal(head.sample(hidden[None], draws), x) and x.dtype == torch.float32


def test_the_loss_reaches_every_weight_and_the_hidden_vector():
    head, hidden = stirred().requires_grad_(True), torch.randn(8, 5, requires_grad=True)
    head.loss(hidden, torch.randn(8, 3)).sum().backward()
    assert bool((hidden.grad.abs().sum(1) > 0).all())
    for name, parameter in head.named_parameters():
        assert float(parameter.grad.abs().sum()) > 0, name


def test_a_recipe_builds_it_again():
    again = build(describe(FlowHead(5, 3, hidden_channels=8, depth=1, steps=9, shift=2.0)))
    assert (again.width, again.steps, again.shift, again.tractable) == (3, 9, 2.0, False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time": "normal"}, "uniform or logit-normal, got 'normal'"),
        ({"repeats": 0}, "got 0 and 4"),
        ({"steps": 0}, "got 4 and 0"),
        ({"shift": 0.0}, "above 0, got 0.0"),
    ],
    ids=["time", "repeats", "steps", "shift"],
)
def test_what_makes_no_head_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        stirred(**changes)
