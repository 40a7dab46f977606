"""Sharpened distributions by hand, and the distribution of what is drawn."""

import pytest
import torch

from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.inference.logits import PLAIN, Warp, draw

PROBS = torch.tensor([0.05, 0.4, 0.15, 0.3, 0.1])


def warped(**options):
    return Warp(**options)(PROBS.log().expand(2, 5)).exp()


def test_nothing_changes_a_distribution():
    assert torch.allclose(warped()[0], PROBS, atol=1e-7)


def test_the_temperature_of_each_item():
    found = warped(temperature=torch.tensor([0.5, 2.0]))
    for row, power in zip(found, (2, 0.5), strict=True):
        expected = PROBS**power
        assert torch.allclose(row, expected / expected.sum(), atol=1e-6)


def test_top_k_keeps_the_likeliest_and_their_equals():
    assert torch.allclose(warped(top_k=2)[0], torch.tensor([0, 4, 0, 3, 0]) / 7, atol=1e-6)
    assert torch.allclose(warped(top_k=9)[0], PROBS, atol=1e-6)
    even = Warp(top_k=1)(torch.tensor([[1.0, 1.0, 0.0]])).exp()
    assert torch.allclose(even, torch.tensor([[0.5, 0.5, 0.0]]))


def test_top_p_keeps_the_one_that_crosses():
    for p, kept in ((0.39, [1]), (0.41, [1, 3]), (0.69, [1, 3]), (0.71, [1, 3, 2]), (1e-9, [1])):
        row = warped(top_p=p)[0]
        assert row.nonzero().flatten().tolist() == sorted(kept)
        assert torch.allclose(row[kept], PROBS[kept] / PROBS[kept].sum(), atol=1e-6)


def test_top_k_comes_before_top_p():
    row = warped(top_k=2, top_p=0.56)[0]  # 4/7 alone reaches 0.56, 0.4 would not
    assert row.nonzero().flatten().tolist() == [1]


def test_of_equals_top_p_keeps_the_first():
    found = Warp(top_p=0.5)(torch.zeros(1, 4)).exp()
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.5, 0.0, 0.0]]))


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_logits_are_left_alone(temperature):
    logits = PROBS.log().expand(2, 5).clone()
    before = logits.clone()
    Warp(temperature=temperature, top_k=2, top_p=0.5)(logits)
    assert torch.equal(logits, before)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"temperature": torch.tensor([1.0, 0.0])},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.5},
    ],
    ids=["zero", "negative", "nan", "item", "k", "p0", "p1"],
)
def test_what_is_no_distribution_is_refused(wrong):
    with pytest.raises(ValueError, match="temperature is above 0|top_k is 0|top_p is above 0"):
        Warp(**wrong).check()


def test_the_distribution_of_what_is_drawn():
    """Chi-square of 20,000 draws with 3 degrees of freedom below that of one test in 10,000."""
    distribution = Warp(top_k=4)(PROBS.log())
    keys = Draws(torch.arange(100), torch.arange(200)[None]).keys(Role.TOKEN)[..., 0]
    ids = draw(distribution.expand(100, 200, 5), keys)
    counts = ids.flatten().bincount(minlength=5).double()
    assert counts[0] == 0
    expected = 20_000 * distribution.double().exp()
    chi = ((counts - expected).square() / expected)[1:].sum()
    assert chi < 21.1


def test_rounding_changes_an_id_no_more_often_than_the_distributions_differ():
    """10,000 draws from 1,000 ids; an inverted distribution function changes about 60 of them."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(10, 1_000, generator=generator)
    other = logits + 2e-4 * torch.randn(logits.shape, generator=generator)
    before, after = PLAIN(logits), PLAIN(other)
    keys = Draws(torch.arange(1_000), torch.arange(10)[None]).keys(Role.TOKEN)[..., 0]
    changed = int((draw(before, keys) != draw(after, keys)).sum())
    variation = float((before.exp() - after.exp()).abs().sum(-1).mean()) / 2
    expected = 10_000 * variation
    assert changed <= 2 * expected + 5 * expected**0.5 + 1


@pytest.mark.parametrize("keys", [0, -1, 2**62, -(2**63)])
def test_an_id_that_cannot_be_is_never_drawn(keys):
    log_probs = torch.full((64,), -torch.inf)
    log_probs[63] = 0.0
    assert int(draw(log_probs, torch.tensor(keys))) == 63
