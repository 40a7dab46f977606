"""Transforms draw from their generator alone and keep the ranges they promise."""

import math

import pytest
import torch

from intaglio.data.transforms import (
    RandomGain,
    RandomSpeed,
    generator_of,
    pad_stack,
    random_start,
    tile,
)


def test_generators_of_equal_keys_are_equal_and_of_others_differ():
    keys = [(0,), (0, 0), (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0), (11, 0), (1, 10)]
    drawn = [torch.rand(4, generator=generator_of(*key)).tolist() for key in keys]
    assert drawn == [torch.rand(4, generator=generator_of(*key)).tolist() for key in keys]
    assert len({tuple(values) for values in drawn}) == len(keys)


def test_crops_start_everywhere_and_fit():
    starts = {random_start(10, 4, generator_of(number)) for number in range(200)}
    assert starts == set(range(7))
    assert random_start(4, 4, generator_of(0)) == random_start(3, 4, generator_of(0)) == 0


def test_the_peak_is_drawn_from_the_whole_range():
    gain = RandomGain(-6, -1)
    levels = []
    for number in range(300):
        wave = torch.randn(1, 50, generator=generator_of(number)) * 0.1
        peak = float(gain(wave, generator_of(number, 1)).abs().max())
        levels.append(20 * math.log10(peak))
    assert -6.001 <= min(levels) < -5.9 and -1.1 < max(levels) <= -0.999
    assert abs(sum(levels) / 300 + 3.5) < 0.34  # four standard deviations of the mean


def test_a_fixed_level_keeps_the_shape_of_the_wave():
    wave = torch.tensor([[0.1, -0.2, 0.05]])
    got = RandomGain(-3, -3)(wave, torch.Generator())
    torch.testing.assert_close(got, wave * 10 ** (-3 / 20) / 0.2)


def test_silence_stays_silence():
    gain = RandomGain(-6, -1, max_boost=40)
    assert torch.equal(gain(torch.zeros(1, 5), torch.Generator()), torch.zeros(1, 5))
    noise = torch.full((1, 5), 1e-5)
    torch.testing.assert_close(gain(noise, torch.Generator()), noise * 100)


@pytest.mark.parametrize(("low", "high"), [(-1, -6), (-3, 0.5), (math.nan, -1)])
def test_levels_above_full_scale_are_refused(low, high):
    with pytest.raises(ValueError, match="low <= high <= 0"):
        RandomGain(low, high)


def test_tiling():
    assert tile(torch.tensor([[1, 2, 3]]), 7).tolist() == [[1, 2, 3, 1, 2, 3, 1]]
    assert tile(torch.tensor([[1, 2, 3]]), 2).tolist() == [[1, 2]]
    assert tile(torch.tensor([[1, 2, 3]]), 3).tolist() == [[1, 2, 3]]


def test_padding():
    batch, lengths = pad_stack([torch.ones(1, 2), 2 * torch.ones(1, 4)])
    assert batch.tolist() == [[[1, 1, 0, 0]], [[2, 2, 2, 2]]]
    assert lengths.tolist() == [2, 4] and lengths.dtype == torch.int64


def test_speed_changes_length_and_pitch() -> None:
    time = torch.arange(16_000) / 16_000
    wave = torch.sin(2 * math.pi * 400 * time)[None]
    faster = RandomSpeed([1.25])(wave, 125)
    assert faster.shape == (1, 12_800)
    peak = torch.fft.rfft(faster[0]).abs().argmax() * 16_000 / 12_800
    assert abs(float(peak) - 500) < 2


def test_speeds_are_drawn_evenly_and_a_single_one_draws_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [RandomSpeed([0.9, 1.0, 1.1]).draw(generator) for _ in range(3000)]
    assert all(abs(drawn.count(percent) - 1000) < 120 for percent in (90, 100, 110))
    before = generator.get_state()
    assert RandomSpeed().draw(generator) == 100
    assert torch.equal(before, generator.get_state())


@pytest.mark.parametrize("speeds", [[], [0.4], [2.1], [1.005], [1.0, math.nan]])
def test_speeds_out_of_range_are_refused(speeds: list[float]) -> None:
    with pytest.raises(ValueError, match="speeds must be"):
        RandomSpeed(speeds)
