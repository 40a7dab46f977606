import pytest
import torch

from intaglio.codecs.decoders.istft import InverseSTFT, ISTFTHead


def spectrum(frames, n_fft):
    real, imaginary = torch.randn(2, 2, n_fft // 2 + 1, frames)
    imaginary[:, 0] = imaginary[:, -1] = 0
    return real, imaginary


@pytest.mark.parametrize(("n_fft", "hop"), [(1280, 320), (800, 200), (64, 16), (64, 32)])
def test_centred_it_is_torchs_inverse(n_fft, hop):
    real, imaginary = spectrum(12, n_fft)
    window = torch.hann_window(n_fft)
    expected = torch.istft(torch.complex(real, imaginary), n_fft, hop, window=window)
    ours = InverseSTFT(n_fft, hop, "center")(real, imaginary)[:, 0]
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 9])
def test_the_codec_form_is_the_folded_inverse_fft(frames):
    n_fft, hop = 64, 16
    real, imaginary = spectrum(frames, n_fft)
    window = torch.hann_window(n_fft)
    parts = torch.fft.irfft(torch.complex(real, imaginary), n=n_fft, dim=1) * window[:, None]
    total = torch.zeros(2, (frames - 1) * hop + n_fft)
    weight = torch.zeros_like(total)
    for frame in range(frames):
        total[:, frame * hop : frame * hop + n_fft] += parts[..., frame]
        weight[:, frame * hop : frame * hop + n_fft] += window**2
    cut = slice((n_fft - hop) // 2, (n_fft - hop) // 2 + frames * hop)
    ours = InverseSTFT(n_fft, hop)(real, imaginary)[:, 0]
    assert ours.shape == (2, frames * hop)
    torch.testing.assert_close(ours, (total / weight)[:, cut], atol=1e-5, rtol=1e-5)


def test_masked_frames_leave_the_others_alone():
    inverse = InverseSTFT(64, 16)
    real, imaginary = spectrum(9, 64)
    mask = torch.arange(9) < torch.tensor([[9], [4]])
    batch = inverse(real, imaginary, mask)
    single = inverse(real[1:, :, :4], imaginary[1:, :, :4])
    torch.testing.assert_close(batch[1:, :, : 4 * 16], single)
    assert batch.isfinite().all()


def test_magnitudes_are_bounded():
    head = ISTFTHead(4, 64, 16, max_magnitude=2.0)
    with torch.no_grad():
        head.out.bias.fill_(50.0)
    assert head(torch.zeros(1, 5, 4)).abs().max() < 2 * 2 * 33 / 16


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="hop_length 20 must divide half of n_fft 64"):
        InverseSTFT(64, 20)
