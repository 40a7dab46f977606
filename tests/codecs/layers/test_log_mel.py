"""The log-mel spectrogram: as Whisper computes it, and each item by itself."""

import pytest
import torch

from intaglio.codecs.layers.log_mel import LogMelSpectrogram
from intaglio.codecs.layers.stft import MelSpectrogram


def test_equals_the_formula_of_whisper():
    """Centred frames, the last one dropped, eight decades, over torch's own transform."""
    wave = torch.randn(2, 1, 3200, generator=torch.Generator().manual_seed(0))
    wave[..., 1600:] *= 1e-5
    mels = MelSpectrogram(
        16_000, 400, hop_length=160, num_mels=80, norm="slaney", scale="slaney", power=2
    )
    energies = mels.double()(wave.double().squeeze(1))[..., :-1].clamp(min=1e-10).log10()
    expected = torch.maximum(energies, energies.amax((1, 2), keepdim=True) - 8)
    found = LogMelSpectrogram(80)(wave)
    assert found.shape == (2, 80, 20)
    torch.testing.assert_close(found, ((expected + 4) / 4).float(), atol=1e-3, rtol=0)
    spread = found.amax((1, 2)) - found.amin((1, 2))
    torch.testing.assert_close(spread, torch.full((2,), 2.0), atol=1e-5, rtol=0)  # 8 decades


@pytest.mark.parametrize("length", [1, 159, 160, 161, 401, 1603])
def test_an_item_is_the_same_alone_and_with_a_longer_and_louder_one(length):
    layer = LogMelSpectrogram(40).double()
    wave = torch.randn(2, 1, 1603, generator=torch.Generator().manual_seed(1)).double()
    wave[1] *= 1e4
    batch = layer(wave, torch.tensor([length, 1603]))
    alone = layer(wave[:1, :, :length])
    assert alone.shape[2] == -(-length // 160)
    torch.testing.assert_close(batch[:1, :, : alone.shape[2]], alone, atol=1e-9, rtol=0)


def test_what_is_mirrored_behind_the_end_is_not_the_loudest():
    layer = LogMelSpectrogram(40).double()
    wave = 1e-9 * torch.randn(2, 1, 1600, generator=torch.Generator().manual_seed(2)).double()
    wave[0, 0, 639] = 1e4
    batch = layer(wave, torch.tensor([640, 1600]))
    torch.testing.assert_close(batch[:1, :, :4], layer(wave[:1, :, :640]), atol=1e-9, rtol=0)
