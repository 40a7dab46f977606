"""Shares and counts of masked tokens by hand."""

from statistics import NormalDist

import pytest

from intaglio.generators.orders.mask_schedules import (
    SHARES,
    counts,
    share_masked,
    share_of_normal,
)


@pytest.mark.parametrize("schedule", sorted(SHARES))
def test_shares_fall_from_one_to_nothing(schedule):
    shares = [share_masked(schedule, time / 10) for time in range(11)]
    assert shares[0] == pytest.approx(1) and shares[-1] == pytest.approx(0)
    assert all(before > after for before, after in zip(shares, shares[1:], strict=False))


def test_shares_at_a_half():
    found = {schedule: share_masked(schedule, 0.5) for schedule in SHARES}
    assert found == pytest.approx(
        {"arccos": 2 / 3, "cosine": 0.5**0.5, "linear": 0.5, "square": 0.75, "root": 1 - 0.5**0.5}
    )


def test_shares_of_mars_normal():
    """The distribution function at a share is the number that the share is drawn with."""
    distribution = NormalDist(1, 0.25)
    below = distribution.cdf(0.7)
    for uniform in (0.001, 0.2, 0.5, 0.9, 0.999):
        share = share_of_normal(uniform, least=0.7, standard_deviation=0.25)
        assert 0.7 < share < 1
        assert (distribution.cdf(share) - below) / (0.5 - below) == pytest.approx(uniform)
    assert share_of_normal(0.5, least=0.7, standard_deviation=0.25) == pytest.approx(
        0.8743, abs=1e-4
    )
    assert share_of_normal(1.0, least=0.7, standard_deviation=0.25) == pytest.approx(1)


@pytest.mark.parametrize("schedule", sorted(SHARES))
@pytest.mark.parametrize("masked", [0, 1, 5, 16, 64])
@pytest.mark.parametrize("steps", [1, 2, 5, 16, 64])
def test_every_step_draws_one_at_least_and_the_last_all(schedule, masked, steps):
    found = counts(schedule, masked, steps)
    assert len(found) == steps and found[-1] == 0
    for before, after in zip([masked, *found], found, strict=False):
        assert after < before or before == after == 0


def test_counts_of_mars_cosine():
    """256 tokens in 64 steps: 1 to 7 at a time; in 256 steps one at a time."""
    found = [256, *counts("cosine", 256, 64)]
    drawn = [before - after for before, after in zip(found, found[1:], strict=False)]
    assert min(drawn) == 1 and max(drawn) == 7 and sum(drawn) == 256
    assert counts("cosine", 256, 256) == list(range(255, -1, -1))
