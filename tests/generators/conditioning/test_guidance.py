"""Weights of guidance against tables made by hand, for four steps."""

import pytest

from intaglio.generators.conditioning.guidance import Guidance

TIMES = (0, 1 / 3, 2 / 3, 1)


@pytest.mark.parametrize(
    ("guidance", "weights"),
    [
        (Guidance(4.0), [4, 4, 4, 4]),
        (Guidance(4.0, "linear"), [1, 2, 3, 4]),
        (Guidance(0.0, "linear"), [1, 2 / 3, 1 / 3, 0]),
        (Guidance(5.0, "cosine"), [1, 2, 4, 5]),
        (Guidance(5.0, "cosine", 0.0), [5, 5, 5, 5]),
        (Guidance(4.0, "half"), [1, 3, 4, 4]),
    ],
    ids=["constant", "linear", "down", "cosine", "power", "half"],
)
def test_by_hand(guidance, weights):
    assert [guidance.at(time) for time in TIMES] == pytest.approx(weights)


def test_the_power_of_the_cosine_is_of_the_time():
    assert Guidance(3.0, "cosine", 2.0).at(0.5**0.5) == pytest.approx(2.0)
