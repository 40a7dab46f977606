"""Values of the metrics that are known, and their direction."""

import math

import pytest
import torch

from intaglio.data.formats.resampling import resample
from intaglio.recipes.evaluation.audio.metrics import DNSMOS, ESTOI, PESQ, SISDR, STOI, MelDistance
from intaglio.recipes.evaluation.scores import Metric, Pair

RATE = 16_000


def value(metric: Metric, reference, decoded):
    if reason := metric.absence():
        pytest.skip(reason)
    return metric(Pair(reference, decoded, RATE))


def test_si_sdr_of_orthogonal_noise_is_exact():
    times = torch.arange(RATE) / RATE
    tone, noise = (torch.sin(2 * math.pi * hz * times) for hz in (100, 300))
    for scale in (0.1, 1.0, 7.0):
        decoded = scale * (tone + 0.1 * noise) + 0.5  # neither level nor offset count
        assert value(SISDR(), tone, decoded) == pytest.approx(20, abs=1e-3)


@pytest.mark.parametrize("metric", [MelDistance(), SISDR(), STOI(), ESTOI(), PESQ()])
def test_more_noise_is_worse(metric, voice, noisy):
    values = [value(metric, voice, decoded) for decoded in noisy[1:]]
    if metric.higher_is_better:
        values.reverse()
    assert values == sorted(values) and values[-1] - values[0] > 0.2


@pytest.mark.parametrize(("metric", "best"), [(MelDistance(), 0), (STOI(), 1), (ESTOI(), 1)])
def test_a_copy_is_perfect(metric, best, voice):
    assert value(metric, voice, voice.clone()) == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("metric", [MelDistance, SISDR])
def test_a_rate_hides_what_lies_above_it(metric, voice):
    times = torch.arange(len(voice)) / RATE
    whistle = voice + 0.1 * torch.sin(2 * math.pi * 6000 * times)
    wide, narrow = (value(one, voice, whistle) for one in (metric(), metric(8000)))
    assert abs(narrow - wide) > (0.2 if metric is MelDistance else 30)
    low = Pair(*(resample(wave, RATE, 8000) for wave in (voice, whistle)), 8000)
    assert narrow == pytest.approx(metric()(low), rel=1e-3)


def test_a_rate_that_carries_nothing_is_refused():
    with pytest.raises(ValueError, match="1000 Hz at least, not at 0"):
        MelDistance(0)


def test_mel_distance_of_a_level_change_is_known():
    # Half the level: 2 log10(2) in every band of both scales, and the difference of magnitudes.
    noise = torch.randn(RATE)
    silent = 1e-3 * noise
    distance = value(MelDistance(), silent, silent / 2)
    assert distance == pytest.approx(4 * math.log10(2), abs=0.005)


def test_mel_distance_of_loud_signals_adds_the_difference_of_magnitudes():
    noise = torch.randn(RATE)
    excess = [
        value(MelDistance(), level * noise, level * noise / 2) - 4 * math.log10(2)
        for level in (0.1, 1.0)
    ]
    assert excess[0] > 0.01 and excess[1] == pytest.approx(10 * excess[0], rel=0.01)


def test_pesq_of_a_copy_is_the_top_of_its_scale(voice):
    assert value(PESQ(), voice, voice) == pytest.approx(4.644, abs=1e-3)


@pytest.mark.parametrize("metric", [SISDR(), STOI(), PESQ()])
def test_silence_is_a_failure_and_not_a_number(score, metric):
    silence = torch.zeros(RATE)
    if metric.absence():
        pytest.skip(metric.absence())
    found = score(metric, Pair(silence, silence, RATE))
    assert found.mean is None and found.failures == 1 and found.reason


@pytest.mark.parametrize("metric", [MelDistance(), STOI(), PESQ()])
def test_what_is_too_short_is_a_failure(score, metric, voice):
    if metric.absence():
        pytest.skip(metric.absence())
    short = voice[:1000]
    assert score(metric, Pair(short, short, RATE)).failures == 1


def test_dnsmos_takes_any_level(voice):
    loud, quiet = (value(DNSMOS(), voice, level * voice) for level in (5.0, 0.05))
    assert 1 <= quiet == pytest.approx(loud, abs=0.02) and loud <= 5
