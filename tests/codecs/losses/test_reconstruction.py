"""What all reconstruction losses have in common."""

import json

import pytest
import torch

from intaglio.codecs.losses.mel import MelLoss, MultiScaleMelLoss
from intaglio.codecs.losses.stft import MultiScaleSTFTLoss
from intaglio.codecs.losses.waveform import WaveformLoss
from intaglio.codecs.part import build, describe

LOSSES = [
    MelLoss(16000, n_fft=256, hop_length=64, num_mels=20),
    MultiScaleMelLoss(16000, windows=[32, 128], num_mels=[5, 20], amplitude_weight=0.5),
    MultiScaleSTFTLoss([256, 128], [50, 30], window_lengths=[200, 100]),
    WaveformLoss(),
]


@pytest.fixture
def speech() -> torch.Tensor:
    time = torch.arange(2000) / 16000
    voices = torch.stack([torch.sin(6.283 * f * time) for f in (150.0, 440.0)])
    return 0.3 * voices.unsqueeze(1)


@pytest.fixture
def noise(speech) -> torch.Tensor:
    return torch.randn(speech.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("loss", LOSSES)
def test_zero_for_equals_and_growing_with_noise(loss, speech, noise):
    distances = [float(loss(speech + level * noise, speech)) for level in (0, 0.003, 0.03, 0.3)]
    assert distances[0] == 0
    assert distances == sorted(set(distances))


@pytest.mark.parametrize("loss", LOSSES)
def test_only_the_output_gets_a_gradient(loss, speech, noise):
    output = (speech + 0.1 * noise).requires_grad_()
    target = speech.clone().requires_grad_()
    value = loss(output, target)
    value.backward()
    assert value.shape == ()
    assert target.grad is None
    assert torch.isfinite(output.grad).all()
    assert (output.grad.abs().amax(dim=-1) > 0).all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("side", ["output", "target", "both"])
def test_silence_is_finite(loss, side, speech):
    output = torch.zeros_like(speech) if side != "target" else speech.clone()
    target = torch.zeros_like(speech) if side != "output" else speech
    output.requires_grad_()
    value = loss(output, target)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(output.grad).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_float32_under_autocast(loss, speech, noise):
    output = (speech + 0.1 * noise).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(output, speech)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(output.float(), speech))


@pytest.mark.parametrize("loss", [LOSSES[0], LOSSES[1], LOSSES[3]])
def test_a_batch_is_the_mean_of_its_items(loss, speech, noise):
    output = speech + 0.1 * noise
    singles = [loss(output[i : i + 1], speech[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(loss(output, speech), torch.stack(singles).mean())


@pytest.mark.parametrize("loss", LOSSES)
def test_the_recipe_builds_the_same_loss(loss, speech, noise):
    again = build(json.loads(json.dumps(describe(loss))))
    assert torch.equal(again(speech + noise, speech), loss(speech + noise, speech))
    assert not loss.state_dict()
