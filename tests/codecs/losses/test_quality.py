"""The PESQ loss: beside the reference implementation, what it forgives, and where it learns."""

import math

import pytest
import torch

from intaglio.codecs.losses.quality import PESQLoss, _limited

RATE = 16_000


def speech(seconds=3.0):
    """Harmonics of a voice that glides, with the resonances and pauses of syllables."""
    t = torch.arange(int(RATE * seconds)) / RATE
    pitch = 120 + 25 * torch.sin(2 * torch.pi * 0.7 * t)
    phase = 2 * torch.pi * pitch.cumsum(0) / RATE
    open_ = torch.sin(2 * torch.pi * 1.6 * t).clamp(min=0) ** 0.5
    formant = 700 + 400 * torch.sin(2 * torch.pi * 1.1 * t)
    wave = sum(
        torch.sin(n * phase) / n * (1 + 6 * torch.exp(-(((n * pitch - formant) / 250) ** 2)))
        for n in range(1, 40)
    )
    return (0.05 * open_ * wave).view(1, 1, -1)


def noise(wave, share, seed=1):
    drawn = torch.randn(wave.shape, generator=torch.Generator().manual_seed(seed))
    return share * wave.std() * drawn


def band_pass(wave, low, high):
    spectrum = torch.fft.rfft(wave)
    hz = torch.fft.rfftfreq(wave.shape[-1], 1 / RATE)
    return torch.fft.irfft(spectrum * ((hz >= low) & (hz <= high)), wave.shape[-1])


def score(loss):
    """What P.862.2 makes of a loss."""
    return 0.999 + 4 / (1 + math.exp(-1.3669 * (4.5 - float(loss)) + 3.8224))


DAMAGE = {  # and the score of the package pesq 0.0.4
    "none": (4.644, lambda wave: wave),
    "faint noise": (2.601, lambda wave: wave + noise(wave, 0.01)),
    "noise": (1.246, lambda wave: wave + noise(wave, 0.1)),
    "loud noise": (1.024, lambda wave: wave + noise(wave, 1)),
    "clipping": (1.490, lambda wave: wave.clamp(-0.1, 0.1)),
    "telephone": (1.876, lambda wave: band_pass(wave, 300, 3400)),
    "steps": (1.256, lambda wave: (wave * 16).round() / 16),
    "softer": (4.643, lambda wave: 0.05 * wave),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_near_pesq(damage):
    expected, make = DAMAGE[damage]
    clean = speech()
    assert abs(score(PESQLoss()(make(clean), clean)) - expected) < 0.05 * expected


def test_mean_of_waveforms():
    loss, clean = PESQLoss(), speech().expand(2, 1, -1)
    damaged = torch.cat([clean[:1] + noise(clean[:1], 0.03), clean[:1] + noise(clean[:1], 0.3)])
    both = [loss(damaged[n : n + 1], clean[:1]) for n in (0, 1)]
    assert both[0] < both[1]
    torch.testing.assert_close(loss(damaged, clean), sum(both) / 2)


def test_frames_beyond_the_limit_still_learn():
    """Four in five of a codec of few bits are, of the noise that was added."""
    frames = torch.tensor([0.0, 44.0, 46.0, 90.0], requires_grad=True)
    limited = _limited(frames)
    limited.sum().backward()
    torch.testing.assert_close(limited, torch.tensor([0.0, 44.0, 45.0, 45.0]))
    torch.testing.assert_close(frames.grad, torch.tensor([1.0, 1.0, 45 / 46, 0.5]))
    loss, clean = PESQLoss(), speech(1.5)
    output = (0.1 * noise(clean, 1)).requires_grad_()
    first = loss(output, clean)
    for _ in range(30):
        gradient = torch.autograd.grad(loss(output, clean), output)[0]
        step = 0.1 * output.norm() * gradient / gradient.norm()
        output = (output - step).detach().requires_grad_()
    assert loss(output, clean) < first - 0.3


def test_gradients_are_finite_also_of_silence():
    loss = PESQLoss()
    for target in (speech(0.5), torch.zeros(1, 1, 8000)):
        target.requires_grad_()
        starts = (torch.zeros_like(target), target.detach() + noise(speech(0.5), 0.5), target)
        for start in starts:
            output = start.detach().clone().requires_grad_()
            loss(output, target).backward()
            assert output.grad.isfinite().all()
        assert target.grad is None


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="16,000 Hz, not 24000"):
        PESQLoss(24_000)
    with pytest.raises(ValueError, match=r"0\.32 s or more, not 5000 samples"):
        PESQLoss()(torch.rand(1, 1, 5000), torch.rand(1, 1, 5000))
