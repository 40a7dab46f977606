"""The cosine schedule by hand, and denoising steps that keep the distribution of noisy data."""

import math

import pytest
import torch

from intaglio.generators.heads.ancestral import ancestral, signal_power, strided


def test_the_schedule_by_hand():
    def share(time):
        return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2

    left, product = [], 1.0
    for step in range(1000):
        product *= 1 - min(1 - share((step + 1) / 1000) / share(step / 1000), 0.999)
        left.append(product)
    found = signal_power()
    torch.testing.assert_close(found.log(), torch.tensor(left, dtype=torch.float64).log())
    assert 1 - float(found[0]) == pytest.approx(4.128e-5, rel=1e-3)
    assert float(found[-1]) == pytest.approx(2.429e-9, rel=1e-3)  # the cap of the last step


@pytest.mark.parametrize("times", [range(1000), strided(100), strided(7), [0, 999], [999]])
def test_a_step_back_from_noisy_data_is_noisy_data(times):
    """Mean and variance of the previous step, from those of the step and the conditional."""
    at = ancestral(times)
    signal = torch.cat([torch.ones(1), at.signal[:-1]])
    noise = torch.cat([torch.zeros(1), at.noise[:-1]])
    mean = at.from_data + at.from_noisy * at.signal
    torch.testing.assert_close(mean, signal, check_dtype=False)
    variance = (at.from_noisy * at.noise) ** 2 + at.low.exp()
    torch.testing.assert_close(variance[1:], (noise**2)[1:], check_dtype=False)


def test_bounds_of_the_variance():
    at = ancestral(range(1000))
    assert bool((at.low[1:] < at.high[1:]).all())
    assert at.low[0] == at.low[1]
    torch.testing.assert_close(at.high.exp()[1:], 1 - signal_power()[1:] / signal_power()[:-1])
    torch.testing.assert_close(at.time * 1000, torch.arange(1000, dtype=torch.float64))
    torch.testing.assert_close(at.signal**2, signal_power())


@pytest.mark.parametrize(
    ("steps", "times"),
    [(1, [999]), (2, [0, 999]), (5, [0, 250, 500, 749, 999]), (1000, list(range(1000)))],
    ids=["1", "2", "5", "1000"],
)
def test_strides_have_both_ends(steps, times):
    assert strided(steps) == times


@pytest.mark.parametrize("steps", [0, 1001])
def test_steps_out_of_range_are_refused(steps):
    with pytest.raises(ValueError, match=f"1 to 1000 steps, got {steps}"):
        strided(steps)
