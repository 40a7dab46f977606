"""Resampling: tones and lengths stay, blocks give what the whole gives."""

import math
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from intaglio.data.formats.resampling import _filter, resample, resample_blocks


def tone(frequency: float, rate: int) -> torch.Tensor:
    time = torch.arange(rate, dtype=torch.float64) / rate
    return (0.5 * torch.sin(2 * torch.pi * frequency * time)).float()[None]


@pytest.mark.parametrize(
    ("before", "after"), [(48_000, 16_000), (11_025, 16_000), (16_000, 24_000), (44_100, 16_000)]
)
def test_resampling_keeps_tones_and_length(before, after):
    for frequency in (100, 1_000, 0.4 * min(before, after)):
        got = resample(tone(frequency, before), before, after)
        want = tone(frequency, after)
        assert got.shape[1] == -(-before * after // before)
        assert (got - want)[:, 200:-200].abs().max() < 1e-3
    assert resample(torch.zeros(2, 3, 1001), before, after).shape == (
        *(2, 3, -(-1001 * after // before)),
    )


def test_resampling_suppresses_what_the_lower_rate_cannot_carry():
    for frequency in (8_800, 10_000, 20_000):
        alias = resample(tone(frequency, 48_000), 48_000, 16_000)[:, 200:-200]
        assert alias.abs().max() < 0.5 * 10 ** (-60 / 20)


def test_resampling_refuses():
    with pytest.raises(ValueError, match="0 Hz"):
        resample(torch.zeros(1, 10), 16_000, 0)


def test_resampling_does_without_torchaudio(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    _filter.cache_clear()
    assert resample(torch.zeros(1, 10), 16_000, 8_000).shape == (1, 5)


@pytest.mark.parametrize(
    "rates", [(44_100, 24_000), (48_000, 16_000), (11_025, 16_000), (16_000, 24_000)]
)
def test_it_is_torchaudios_filter(generator, rates):
    try:
        from torchaudio.transforms import Resample
    except Exception as error:  # a build for another CUDA raises RuntimeError
        pytest.skip(f"torchaudio: {error}")
    theirs = Resample(*rates, "sinc_interp_kaiser", 64, 0.9475937167399596, 14.769656459379492)
    assert (_filter(*rates).taps - theirs.kernel).abs().max() < 1e-6
    wave = torch.randn(2, 7_001, generator=generator)
    torch.testing.assert_close(resample(wave, *rates), theirs(wave))


def exactly(wave: torch.Tensor, before: int, after: int) -> torch.Tensor:
    """Each output sample by its own sum over all input samples, in float64."""
    cutoff = 0.9475937167399596 * min(before, after) / before
    beta = torch.tensor(14.769656459379492, dtype=torch.float64)
    inputs = torch.arange(wave.shape[-1], dtype=torch.float64)
    times = torch.arange(-(-wave.shape[-1] * after // before)).double() * before / after
    t = ((inputs - times.unsqueeze(1)) * cutoff).clamp(-64, 64)
    taps = torch.sinc(t) * torch.i0(beta * (1 - (t / 64) ** 2).sqrt()) / torch.i0(beta) * cutoff
    return (wave.double() @ taps.T).float()


@pytest.mark.parametrize(
    "rates",
    [(11_127, 16_000), (22_254, 24_000), (24_414, 16_000), (44_101, 16_000), (16_000, 44_101)],
)
def test_rates_that_are_almost_coprime_are_resampled(generator, rates):
    assert math.prod(rates) // math.gcd(*rates) ** 2 > 1 << 20
    wave = torch.rand(2, 567, generator=generator) * 2 - 1
    got = resample(wave, *rates)
    torch.testing.assert_close(got, exactly(wave, *rates), atol=2e-6, rtol=0)
    assert resample(wave[:, :0], *rates).shape == (2, 0)
    assert resample(wave[0, :1], *rates).shape == (-(-rates[1] // rates[0]),)


def test_long_signals_have_their_exact_length():
    """torchaudio rounds lengths above 2^24 samples to what float32 can say."""
    samples = (1 << 24) // 3 + 2
    assert resample(torch.zeros(samples), 8_000, 24_000).shape == (3 * samples,)
    assert 3 * samples > 1 << 24 and 3 * samples % 2 == 1


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    rates=st.sampled_from(
        [(44_100, 24_000), (48_000, 16_000), (8_000, 24_000), (16_000, 16_000), (11_127, 8_000)]
    ),
    samples=st.one_of(st.integers(1, 300), st.integers(1, 100_000)),
    sizes=st.lists(st.integers(0, 30_000), max_size=8),
)
def test_blocks_are_the_whole(rates, samples, sizes):
    wave = torch.randn(2, samples, generator=torch.Generator().manual_seed(samples))
    blocks, start = [], 0
    for size in [*sizes, samples]:
        blocks.append(wave[:, start : start + size])
        start += size
    joined = torch.cat(list(resample_blocks(blocks, *rates)), dim=1)
    assert joined.shape[1] == -(-samples * rates[1] // rates[0])
    torch.testing.assert_close(joined, resample(wave, *rates), atol=2e-6, rtol=0)


def test_blocks_come_as_soon_as_they_are_known():
    """What is kept does not grow with the signal."""
    taken = 0

    def blocks():
        nonlocal taken
        for _ in range(50):
            taken += 4_410
            yield torch.zeros(1, 4_410)

    given = 0
    for block in resample_blocks(blocks(), 44_100, 24_000):
        given += block.shape[1]
        assert taken * 24_000 // 44_100 - given < 100
    assert given == 50 * 2_400
