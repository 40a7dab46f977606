"""The short-time Fourier transform and the mel spectrogram, against torch and torchaudio."""

import math

import pytest
import torch
from torch.nn import functional as F

from intaglio.codecs.layers.stft import STFT, MelSpectrogram, mel_filterbank


@pytest.fixture
def noise() -> torch.Tensor:
    return torch.randn(2, 3, 4000, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("window_length", [512, 300])
def test_centred_frames_equal_torch(noise, window_length):
    ours = STFT(512, 128, window_length=window_length)(noise)
    theirs = torch.stft(
        noise.flatten(0, 1),
        512,
        128,
        window_length,
        torch.hann_window(window_length),
        return_complex=True,
    )
    assert ours.shape == (2, 3, 257, 4000 // 128 + 1)
    assert ours.dtype == torch.complex64
    torch.testing.assert_close(ours, theirs.unflatten(0, (2, 3)))


def test_rectangular_window_sums_plainly():
    """A constant of 1 gives n_fft in bin 0 and nothing elsewhere, in every frame."""
    spectra = STFT(64, 16, window="rectangular")(torch.ones(1, 1, 200))
    expected = torch.zeros_like(spectra)
    expected[:, :, 0] = 64
    torch.testing.assert_close(spectra, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("samples", [1024, 1000, 1025])
def test_matched_stride_is_the_published_padding(samples):
    """DAC's alignment: pad, centre as well, and drop two frames at either end."""
    x = torch.randn(3, samples, generator=torch.Generator().manual_seed(1))
    fill = -samples % 64
    padded = F.pad(x, (96, 96 + fill), mode="reflect")
    published = torch.stft(padded, 256, 64, window=torch.hann_window(256), return_complex=True)
    ours = STFT(256, 64, match_stride=True)(x)
    assert ours.shape[-1] == math.ceil(samples / 64)
    torch.testing.assert_close(ours, published[..., 2:-2])


@pytest.mark.parametrize("n_fft, hop", [(256, 96), (255, 64), (9, 2)])
def test_matched_stride_gives_one_frame_a_hop(n_fft, hop):
    for samples in (400, 401, 451):
        frames = STFT(n_fft, hop, match_stride=True)(torch.randn(samples)).shape[-1]
        assert frames == math.ceil(samples / hop)


def test_float32_under_autocast(noise):
    mels = MelSpectrogram(24000, 256, hop_length=64, num_mels=20)
    with torch.autocast("cpu", torch.bfloat16):
        under = mels(noise)
    assert under.dtype == torch.float32
    assert torch.equal(under, mels(noise))
    assert mels(noise.bfloat16()).dtype == torch.float32


def test_gradient_is_the_derivative(noise):
    stft = STFT(64, 16, window_length=48)
    x = noise[:1, :1, :200].clone().requires_grad_()
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    (slope,) = torch.autograd.grad(stft(x).abs().square().sum(), x)
    step = 1e-2
    with torch.no_grad():
        up, down = ((stft(x + s * direction).abs().square()).sum() for s in (step, -step))
    measured = (up - down) / (2 * step)
    torch.testing.assert_close((slope * direction).sum(), measured, rtol=1e-3, atol=0.1)


def test_silence_has_a_finite_gradient():
    x = torch.zeros(1, 1, 600, requires_grad=True)
    mels = MelSpectrogram(16000, 256, hop_length=64, num_mels=20)(x)
    mels.sum().backward()
    assert torch.isfinite(x.grad).all()


def test_too_short_a_waveform():
    with pytest.raises(ValueError, match="128 samples is too short for an STFT of 256.* 129"):
        STFT(256, 64)(torch.zeros(1, 1, 128))
    assert STFT(256, 64)(torch.zeros(1, 1, 129)).shape == (1, 1, 129, 3)


@pytest.mark.parametrize(
    "arguments", [{"hop_length": 0}, {"hop_length": 65}, {"hop_length": 16, "window_length": 65}]
)
def test_sizes_that_do_not_fit(arguments):
    with pytest.raises(ValueError, match="hop length"):
        STFT(64, **arguments)


def test_unknown_window():
    with pytest.raises(ValueError, match="hamming"):
        STFT(64, 16, window="hamming")


@pytest.mark.parametrize("norm, scale", [(None, "htk"), ("slaney", "slaney"), ("slaney", "htk")])
@pytest.mark.parametrize(
    "sample_rate, n_fft, num_mels, f_min, f_max",
    [(24000, 1024, 100, 0.0, None), (16000, 400, 80, 20.0, 7600.0), (44100, 2048, 128, 0.0, 16000)],
)
def test_filterbank_equals_torchaudio(norm, scale, sample_rate, n_fft, num_mels, f_min, f_max):
    from torchaudio.functional import melscale_fbanks

    ours = mel_filterbank(
        sample_rate, n_fft, num_mels=num_mels, f_min=f_min, f_max=f_max, norm=norm, scale=scale
    )
    top = sample_rate / 2 if f_max is None else f_max
    theirs = melscale_fbanks(n_fft // 2 + 1, f_min, top, num_mels, sample_rate, norm, scale).T
    assert ours.shape == (num_mels, n_fft // 2 + 1)
    assert ours.dtype == torch.float32
    # torchaudio computes in float32 throughout: its own rounding is the tolerance.
    tolerance = 2e-5 * float(theirs.max())
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=0)


def test_filters_by_hand():
    """Slaney, 8 kHz, two filters up to 1 kHz: corners at 0, 333.3, 666.7 and 1000 Hz."""
    arguments = {"num_mels": 2, "f_max": 1000.0, "scale": "slaney"}
    plain = mel_filterbank(8000, 80, **arguments)  # a bin every 100 Hz
    first = [0, 0.3, 0.6, 0.9, 0.8, 0.5, 0.2] + [0] * 34
    torch.testing.assert_close(plain[0], torch.tensor(first))
    torch.testing.assert_close(plain[1, 7], torch.tensor(0.9))
    even = mel_filterbank(8000, 80, norm="slaney", **arguments)
    torch.testing.assert_close(even, plain * 2 / 666.6667)


@pytest.mark.parametrize("frequencies", [{"f_min": 500, "f_max": 400}, {"f_max": 8001}])
def test_frequencies_out_of_order(frequencies):
    with pytest.raises(ValueError, match="8000.0 Hz"):
        mel_filterbank(16000, 512, num_mels=20, **frequencies)


@pytest.mark.parametrize("option", [{"norm": "area"}, {"scale": "bark"}])
def test_unknown_norm_or_scale(option):
    with pytest.raises(ValueError, match="area|bark"):
        mel_filterbank(16000, 512, num_mels=20, **option)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_mel_spectrogram_equals_torchaudio(noise, power):
    from torchaudio.transforms import MelSpectrogram as Reference

    theirs = Reference(24000, 1024, hop_length=256, n_mels=100, power=power)(noise)
    ours = MelSpectrogram(24000, 1024, hop_length=256, num_mels=100, power=power)(noise)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5 * float(theirs.max()))


def test_empty_filters_may_be_left_out():
    """At 48 kHz the first of five Slaney filters over 32 samples ends before the first bin."""
    sizes = {"hop_length": 8, "num_mels": 5, "norm": "slaney", "scale": "slaney"}
    x = torch.randn(1, 1, 200, generator=torch.Generator().manual_seed(0))
    kept = MelSpectrogram(48000, 32, **sizes)(x)
    dropped = MelSpectrogram(48000, 32, drop_empty=True, **sizes)(x)
    empty = (kept == 0).all(dim=-1)[0, 0]
    assert empty.tolist() == [True, False, False, False, False]
    torch.testing.assert_close(dropped, kept[:, :, ~empty])  # products of other shapes


def test_nothing_but_empty_filters():
    with pytest.raises(ValueError, match="none of 3 mel filters"):
        MelSpectrogram(16000, 32, hop_length=8, num_mels=3, f_min=10, f_max=200, drop_empty=True)


def test_nothing_is_stored():
    assert not MelSpectrogram(16000, 256, hop_length=64, num_mels=20).state_dict()
