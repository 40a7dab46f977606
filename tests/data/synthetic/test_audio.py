"""Speech-like signals have the harmonics, pauses and levels of speech, and are repeatable."""

import pytest
import torch

from intaglio.data.synthetic.audio import speechlike


@pytest.fixture(scope="module")
def signal() -> torch.Tensor:
    return speechlike(48_000, 16_000, torch.Generator().manual_seed(5))


def test_same_seed_same_signal(signal):
    again = speechlike(48_000, 16_000, torch.Generator().manual_seed(5))
    other = speechlike(48_000, 16_000, torch.Generator().manual_seed(6))
    assert torch.equal(signal, again) and not torch.allclose(signal, other)


def test_level_and_pauses(signal):
    assert torch.isfinite(signal).all()
    assert 0.3 < signal.abs().max() <= 1
    assert 0.02 < (signal == 0).float().mean() < 0.6
    assert abs(signal.mean()) < 0.01


def test_most_frames_are_harmonic(signal):
    """A voiced frame looks like itself one pitch period later."""
    frames = signal.unfold(0, 1_024, 512)
    frames = frames[frames.square().mean(1) > 1e-3]
    spectrum = torch.fft.rfft(frames, 2_048).abs().square()
    correlation = torch.fft.irfft(spectrum)
    periodic = correlation[:, 60:200].amax(1) / correlation[:, 0]
    assert (periodic > 0.5).float().mean() > 0.5


def test_energy_lies_below_and_above_1_khz(signal):
    spectrum = torch.fft.rfft(signal).abs().square()
    low = spectrum[: 3 * 1_000].sum() / spectrum.sum()
    assert 0.2 < low < 0.98


@pytest.mark.parametrize("samples", [1, 2, 100])
def test_short_signals(samples):
    wave = speechlike(samples, 8_000, torch.Generator().manual_seed(0))
    assert wave.shape == (samples,) and torch.isfinite(wave).all()


def test_nothing_is_refused():
    with pytest.raises(ValueError, match="0 samples"):
        speechlike(0, 16_000, torch.Generator())
