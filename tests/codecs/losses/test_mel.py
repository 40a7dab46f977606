"""Mel losses against torchaudio and against the published arithmetic."""

import pytest
import torch
from torch.nn import functional as F

from intaglio.codecs.losses.mel import MelLoss, MultiScaleMelLoss


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    output, target = torch.randn(2, 2, 1, 6000, generator=torch.Generator().manual_seed(0))
    return 0.1 * output, 0.1 * target


def test_the_vocos_loss_is_torchaudios_mel(pair):
    from torchaudio.transforms import MelSpectrogram

    mels = MelSpectrogram(24000, 1024, hop_length=256, n_mels=100, center=True, power=1)
    ours, theirs = (torch.log(torch.clip(mels(x), min=1e-7)) for x in pair)
    expected = F.l1_loss(ours, theirs)
    torch.testing.assert_close(MelLoss(24000)(*pair), expected, atol=1e-5, rtol=0)


def test_the_dac_loss_scale_by_scale(pair):
    from torchaudio.transforms import MelSpectrogram

    expected = torch.zeros(())
    for i in range(7):
        window = 32 << i
        mels = MelSpectrogram(
            44100,
            window,
            hop_length=window // 4,
            n_mels=5 << i,
            power=1,
            norm="slaney",
            mel_scale="slaney",
        )
        ours, theirs = (mels(x).clamp(1e-5).log10() for x in pair)
        expected += F.l1_loss(ours, theirs)
    torch.testing.assert_close(MultiScaleMelLoss(44100)(*pair), expected, atol=1e-5, rtol=1e-5)


def test_a_gain_of_ten_is_one_in_log10(pair):
    """Ten times the signal is +1 in log10 and ln 10 in the natural logarithm, in every mel."""
    _, target = pair
    target = 10 * target
    scales = MultiScaleMelLoss(16000, windows=[64, 256], num_mels=[10, 20])
    torch.testing.assert_close(scales(10 * target, target), torch.tensor(2.0), atol=1e-4, rtol=0)
    natural = MelLoss(16000)(10 * target, target)
    torch.testing.assert_close(natural, torch.tensor(10.0).log(), atol=1e-4, rtol=0)


def test_weights_of_logarithm_and_amplitude(pair):
    sizes = {"windows": [64], "num_mels": [10]}
    log = MultiScaleMelLoss(16000, **sizes)(*pair)
    plain = MultiScaleMelLoss(16000, log_weight=0, amplitude_weight=1, **sizes)(*pair)
    both = MultiScaleMelLoss(16000, log_weight=2, amplitude_weight=3, **sizes)(*pair)
    torch.testing.assert_close(both, 2 * log + 3 * plain)
    doubled = MultiScaleMelLoss(16000, log_weight=0, amplitude_weight=1, **sizes)
    torch.testing.assert_close(doubled(2 * pair[0], 2 * pair[1]), 2 * plain)


def test_below_the_floor_nothing_counts():
    quiet = torch.full((1, 1, 3000), 1e-9)
    assert MelLoss(16000)(quiet, torch.zeros_like(quiet)) > 0
    assert MultiScaleMelLoss(16000)(quiet, torch.zeros_like(quiet)) == 0


@pytest.mark.parametrize("sample_rate", [8000, 16000, 22050, 24000, 44100])
def test_no_published_filter_is_empty(sample_rate):
    counts = [len(scale.filters) for scale in MultiScaleMelLoss(sample_rate).scales]
    assert counts == [5, 10, 20, 40, 80, 160, 320]
    assert len(MelLoss(sample_rate).mels.filters) == 100


def test_an_empty_filter_does_not_dilute(pair):
    """At 48 kHz one of five filters holds no bin: a gain of ten still counts as 1, not as 0.8."""
    loss = MultiScaleMelLoss(48000, windows=[32], num_mels=[5])
    loud = loss(100 * pair[0], 10 * pair[0])
    torch.testing.assert_close(loud, torch.tensor(1.0), atol=1e-4, rtol=0)


def test_windows_and_mels_must_pair_up():
    with pytest.raises(ValueError, match="2 windows need as many num_mels, got 1"):
        MultiScaleMelLoss(16000, windows=[64, 128], num_mels=[10])
