"""Multi-scale STFT loss by hand."""

import math

import pytest
import torch

from intaglio.codecs.losses.stft import MultiScaleSTFTLoss


@pytest.fixture
def noise() -> torch.Tensor:
    return torch.randn(2, 1, 3000, generator=torch.Generator().manual_seed(0))


def test_a_gain_gives_closed_values(noise):
    """``output = 3 target``: the convergence is ‖2 S‖ / ‖S‖ = 2, the log distance ln 3."""
    loss = MultiScaleSTFTLoss()
    expected = torch.tensor(2 + math.log(3))
    torch.testing.assert_close(loss(30 * noise, 10 * noise), expected, atol=1e-4, rtol=0)


def test_the_terms_carry_their_weights(noise):
    weights = {"convergence_weight": 0.5, "log_weight": 4.0}
    expected = torch.tensor(0.5 * 2 + 4 * math.log(3))
    loss = MultiScaleSTFTLoss(**weights)
    torch.testing.assert_close(loss(30 * noise, 10 * noise), expected, atol=1e-3, rtol=0)


def test_one_resolution_against_the_formulas(noise):
    output, target = noise.flip(0), noise
    ours, theirs = (
        torch.stft(x[:, 0], 256, 60, 240, torch.hann_window(240), return_complex=True).abs()
        for x in (output, target)
    )
    expected = (theirs - ours).norm() / theirs.norm() + (ours.log() - theirs.log()).abs().mean()
    loss = MultiScaleSTFTLoss([256], [60], window_lengths=[240])
    torch.testing.assert_close(loss(output, target), expected)


def test_resolutions_are_averaged(noise):
    output, target = noise.flip(0), noise
    singles = [
        MultiScaleSTFTLoss([n_fft], [n_fft // 4], window_lengths=[n_fft])(output, target)
        for n_fft in (128, 512)
    ]
    both = MultiScaleSTFTLoss([128, 512], [32, 128], window_lengths=[128, 512])(output, target)
    torch.testing.assert_close(both, torch.stack(singles).mean())


def test_lists_of_different_lengths():
    with pytest.raises(ValueError, match="got 2, 1 and 2"):
        MultiScaleSTFTLoss([512, 256], [128], window_lengths=[512, 256])
