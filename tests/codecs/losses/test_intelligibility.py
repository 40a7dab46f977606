"""The STOI loss: by hand on a few bands, beside pystoi, and what it must not mind."""

import pytest
import torch

from intaglio.codecs.losses.intelligibility import STOILoss

RATE = 16_000


def speech(seconds=1.5, *, seed=0):
    """Noise whose bands are switched on and off as syllables are, [1, 1, samples]."""
    draw = torch.Generator().manual_seed(seed)
    t = torch.arange(int(RATE * seconds)) / RATE
    parts = []
    for band in range(8):
        tone = torch.sin(2 * torch.pi * 200 * 1.45**band * t + band)
        rate, start = 2 + 4 * torch.rand((), generator=draw), 6 * torch.rand((), generator=draw)
        parts.append(tone * torch.sin(rate * 2 * torch.pi * t + start).clamp(min=0))
    return (0.1 * torch.stack(parts).sum(0)).view(1, 1, -1)


def noisy(wave, share):
    noise = torch.randn(wave.shape, generator=torch.Generator().manual_seed(1))
    return wave + share * wave.std() * noise


@pytest.mark.parametrize("share", [0.1, 0.5, 1.5])
def test_near_stoi(share):
    """Of signals without silence."""
    stoi = pytest.importorskip("pystoi").stoi
    clean = speech(3)
    damaged = noisy(clean, share)
    expected = stoi(clean.flatten().numpy(), damaged.flatten().numpy(), RATE)
    assert abs(1 - float(STOILoss(RATE)(damaged, clean)) - expected) < 0.05


def test_loudness_of_bands_does_not_matter_but_their_course_does():
    loss, clean = STOILoss(RATE), speech()
    assert float(loss(0.3 * clean, clean)) < 5e-3
    assert float(loss(-clean, clean)) < 5e-3
    assert 0.02 < float(loss(noisy(clean, 0.3), clean)) < float(loss(noisy(clean, 1), clean))
    assert float(loss(speech(seed=5), clean)) > 0.5
    assert float(loss(clean.roll(3200), clean)) > 0.5


def test_correlation_by_hand():
    """One segment: the mean over bands of the correlations of 30 envelopes, clipped 15 dB above."""
    loss = STOILoss(10_000)
    x, y = (
        torch.rand(2, 1, 30 * 128, generator=torch.Generator().manual_seed(n)) - 0.5 for n in (1, 2)
    )
    x, y = x[..., : 29 * 128], y[..., : 29 * 128]
    expected = []
    for a, b in zip(x.double().flatten(1), y.double().flatten(1), strict=True):
        spectra = [
            torch.stft(
                s, 256, 128, window=torch.hann_window(256, dtype=torch.float64),
                pad_mode="reflect", return_complex=True,
            ).abs()
            for s in (a, b)
        ]  # fmt: skip
        hz = torch.arange(129) * 10_000 / 256
        for band in range(15):
            centre = 150 * 2 ** (band / 3)
            inside = (hz >= centre / 2 ** (1 / 6)) & (hz < centre * 2 ** (1 / 6))
            u, v = (s[inside].square().sum(0).sqrt() for s in spectra)
            u = torch.minimum(u * v.norm() / u.norm(), 6.623413 * v)
            expected.append(torch.corrcoef(torch.stack([u, v]))[0, 1])
    assert abs(float(loss(x, y)) - (1 - float(torch.stack(expected).mean()))) < 1e-3


def test_segments_of_silence_do_not_count():
    loss, clean = STOILoss(RATE), speech()
    silent = torch.cat([clean, torch.zeros(1, 1, RATE)], dim=-1)
    damaged = noisy(clean, 0.5)
    hiss = torch.cat([damaged, 1e-4 * torch.randn(1, 1, RATE)], dim=-1)
    long = torch.cat([damaged, torch.zeros(1, 1, RATE)], dim=-1)
    torch.testing.assert_close(loss(hiss, silent), loss(long, silent), atol=0.02, rtol=0)
    assert float(loss(silent, silent)) < 1e-3


def test_gradients_are_finite_also_of_silence():
    loss = STOILoss(RATE)
    for target in (speech(), torch.zeros(1, 1, 8000)):
        target.requires_grad_()
        for start in (torch.zeros_like(target), noisy(target.detach() + 1e-3, 0.5)):
            output = start.detach().requires_grad_()
            loss(output, target).backward()
            assert output.grad.isfinite().all()
        assert target.grad is None
    output = noisy(speech(), 1).requires_grad_()
    before = loss(output, speech())
    before.backward()
    better = output.detach() - 0.02 * output.grad / output.grad.norm()
    assert loss(better, speech()) < before


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="10,000 Hz or more, not 8000"):
        STOILoss(8000)
    with pytest.raises(ValueError, match=r"0\.38 s or more, not 5000 samples"):
        STOILoss(RATE)(torch.rand(1, 1, 5000), torch.rand(1, 1, 5000))
