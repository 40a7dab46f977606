"""Weights of guidance against tables made by hand, for four steps."""

import pytest
import torch

from intaglio.generators.conditioning.guidance import Guidance, guided

TIMES = (0, 1 / 3, 2 / 3, 1)


@pytest.mark.parametrize(
    ("guidance", "scales"),
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
def test_by_hand(guidance, scales):
    assert [guidance.at(time) for time in TIMES] == pytest.approx(scales)


def test_the_power_of_the_cosine_is_of_the_time():
    assert Guidance(3.0, "cosine", 2.0).at(0.5**0.5) == pytest.approx(2.0)


def test_guidance_of_one_is_none_to_the_bit_and_of_zero_is_the_null():
    value, null = torch.randn(2, 3, 7)
    assert torch.equal(guided(value, null, 1.0), value)
    assert torch.equal(guided(value, None, 3.0), value)
    assert torch.equal(guided(value, null, 0.0), null)
    each = guided(value, null, torch.tensor([1.0, 0.0, 3.0]))
    assert torch.equal(each[0], value[0]) and torch.equal(each[1], null[1])
    assert torch.allclose(each[2], 3 * value[2] - 2 * null[2], atol=1e-6)
