"""Loudness: the recommendation's own numbers, other meters, and blocks of any size."""

import math

import pytest
import torch

from intaglio.data.formats.loudness import LoudnessMeter


def measured(wave: torch.Tensor, rate: int, size: int = 100_000) -> float:
    meter = LoudnessMeter(rate, len(wave))
    for block in wave.split(size, dim=-1):
        meter.push(block)
    return meter.loudness()


def tone(level: float, rate: int, seconds: float, frequency: float = 997.0) -> torch.Tensor:
    """A sine of a level in dB below full scale, [1, samples]."""
    time = torch.arange(round(rate * seconds), dtype=torch.float64) / rate
    return (10 ** (level / 20) * torch.sin(2 * math.pi * frequency * time))[None]


@pytest.mark.parametrize(
    ("rate", "error"),
    [(8_000, 0.21), (16_000, 0.05), (24_000, 0.02), (44_100, 0.01), (96_000, 0.01)],
)
def test_a_full_scale_tone_of_997_hz(rate, error):
    """ITU-R BS.1770-4: -3.01 in one channel, 3.01 more in two; 1.5 more in one behind.

    At low rates the bilinear transform bends the shelf.
    """
    wave = tone(0.0, rate, 3.0)
    assert measured(wave, rate) == pytest.approx(-3.01, abs=error)
    assert measured(wave.expand(2, -1), rate) == pytest.approx(0.0, abs=error)
    behind = torch.cat([torch.zeros_like(wave).expand(4, -1), wave])
    assert measured(behind, rate) == pytest.approx(-3.01 + 1.49, abs=error)


def test_pauses_and_quiet_parts_do_not_count():
    """The tones of EBU Tech 3341, test 3 and 5, -23 LUFS in two channels, to 0.1 LU."""
    rate = 48_000
    parts = [tone(-36.0, rate, 10), tone(-23.0, rate, 60), tone(-36.0, rate, 10)]
    assert measured(torch.cat(parts, 1).expand(2, -1), rate) == pytest.approx(-23.0, abs=0.1)
    parts = [tone(-26.0, rate, 20), tone(-20.0, rate, 20.1), tone(-26.0, rate, 20)]
    assert measured(torch.cat(parts, 1).expand(2, -1), rate) == pytest.approx(-23.0, abs=0.1)
    parts = [tone(-23.0, rate, 20), tone(-72.0, rate, 20), torch.zeros(1, 9 * rate)]
    assert measured(torch.cat(parts, 1).expand(2, -1), rate) == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_it_agrees_with_torchaudio(rate, channels, generator):
    from torchaudio.transforms import Loudness

    swell = torch.rand(1, 8, generator=generator).repeat_interleave(rate, dim=1) ** 3
    wave = 0.05 * torch.randn(channels, 8 * rate, generator=generator) * swell
    assert measured(wave, rate) == pytest.approx(float(Loudness(rate)(wave)), abs=0.1)


def test_blocks_of_any_size_give_the_same(generator):
    wave = 0.1 * torch.randn(2, 100_003, generator=generator)
    whole = LoudnessMeter(22_050, 2)
    whole.push(wave)
    for size in (333, 2_205, 44_101):
        assert measured(wave, 22_050, size) == pytest.approx(whole.loudness(), abs=1e-9)
    assert whole.peak == wave.abs().max()


def test_what_is_short_or_silent():
    short = tone(-20.0, 8_000, 0.3)
    expected = measured(short.repeat(1, 10), 8_000)
    assert measured(short, 8_000) == pytest.approx(expected, abs=0.3)
    assert measured(torch.full((1, 1), 0.5), 8_000) < 0
    assert measured(torch.zeros(2, 9_000), 8_000) == -math.inf
    assert measured(torch.zeros(1, 10), 8_000) == -math.inf
    assert LoudnessMeter(8_000, 1).loudness() == -math.inf


def test_what_is_not_defined_is_refused():
    for rate, channels in ((8_000, 6), (8_000, 0), (9, 1)):
        with pytest.raises(ValueError, match=f"of {channels} channels at {rate} Hz"):
            LoudnessMeter(rate, channels)
