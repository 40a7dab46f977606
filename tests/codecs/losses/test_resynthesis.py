"""Reconstruct, then match: by hand, who learns from it, and an S3 as the judge."""

import pytest
import torch
from torch.nn import functional as F

from intaglio.codecs.audio.s3 import s3
from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.bundle import save
from intaglio.codecs.decoders.seanet import SEANetDecoder
from intaglio.codecs.encoders.dual import DualEncoder
from intaglio.codecs.encoders.recogniser import RecogniserEncoder
from intaglio.codecs.encoders.seanet import SEANetEncoder
from intaglio.codecs.image.image_small import image_small
from intaglio.codecs.losses.perceptual import FeatureNetwork
from intaglio.codecs.losses.resynthesis import CodecEncoder, ResynthesisLoss
from intaglio.codecs.losses.waveform import WaveformLoss
from intaglio.codecs.losses.whisper import DeepFeatureLoss, at_rate
from intaglio.codecs.quantizers.dual import DualQuantizer
from intaglio.codecs.quantizers.factorized import FactorizedVectorQuantizer
from intaglio.codecs.task import CodecTask

HOP = 640
LAYERS = {"width": 2, "lstm_layers": 0}


def decoder(hop=HOP, dim=4):
    return SEANetDecoder(dim, (8, hop // 8), **LAYERS)


class Frames(FeatureNetwork):
    """Features that are energies and means of ten samples."""

    def forward(self, x):
        frames = x.unflatten(-1, (-1, 10))
        return [torch.cat([frames.square().mean(-1), frames.mean(-1)], dim=1)]


def test_by_hand():
    loss = ResynthesisLoss(decoder(), DeepFeatureLoss(Frames(), squared=True))
    latents, wave = torch.randn(2, 3, 4), torch.randn(2, 1, 3 * HOP - 20)
    spoken = loss.decoder(latents)[..., :-20]
    [heard], [wanted] = loss.loss.network(spoken), loss.loss.network(wave)
    total = torch.zeros(())
    for channel in range(2):
        scale = wanted[:, channel].std() + 1e-3
        total += ((heard[:, channel] - wanted[:, channel]) / scale).square().mean() / 2
    torch.testing.assert_close(loss(latents, wave), total)
    assert loss.semantic


def test_originals_of_another_rate_are_brought_to_that_of_the_judge():
    loss = ResynthesisLoss(decoder(), WaveformLoss(), sample_rate=24_000)
    latents, wave = torch.randn(1, 2, 4), torch.randn(1, 1, 2 * HOP * 3 // 2)
    expected = F.l1_loss(loss.decoder(latents), at_rate(wave, 24_000, 16_000))
    torch.testing.assert_close(loss(latents, wave), expected)


@pytest.mark.parametrize("hop", [HOP // 2, 2 * HOP])
def test_a_decoder_for_another_rate_of_tokens_is_refused(hop):
    loss = ResynthesisLoss(decoder(hop), WaveformLoss())
    with pytest.raises(ValueError, match=f"{4 * hop} samples of 4 latents, .* for 2560 at 16000"):
        loss(torch.randn(1, 4, 4), torch.randn(1, 1, 4 * HOP))


def recogniser(folder, monkeypatch):
    """A bundle of S3's layers, small, with weights that answer to what they hear."""
    monkeypatch.setattr("intaglio.codecs.audio.s3.DIM", 24)
    monkeypatch.setattr(
        "intaglio.codecs.audio.s3.RecogniserEncoder",
        lambda *_, strides, **__: RecogniserEncoder(24, 1, 2, strides=strides, num_mels=20),
    )
    return save(s3(), folder)


def codec():
    encoders = [SEANetEncoder(4, (8, HOP // 8), **LAYERS) for _ in range(2)]
    books = [FactorizedVectorQuantizer(4, 16, codebook_dim=2) for _ in range(2)]
    return AudioCodec(DualEncoder(*encoders), DualQuantizer(*books), decoder(), sample_rate=16_000)


def test_the_judge_is_the_first_half_of_the_recogniser(tmp_path, monkeypatch):
    judge = CodecEncoder(str(recogniser(tmp_path / "s3", monkeypatch)))
    wave = torch.randn(2, 1, 3200)
    [heard] = judge(wave)
    torch.testing.assert_close(heard, judge.encoder(wave).transpose(1, 2))
    assert heard.shape == (2, 24, 5)
    assert not judge.train().training and not judge.encoder.training
    assert not any(parameter.requires_grad for parameter in judge.parameters())
    [slower] = CodecEncoder(str(tmp_path / "s3"), sample_rate=24_000)(at_rate(wave, 16_000, 24_000))
    torch.testing.assert_close(slower, heard, rtol=1e-2, atol=1e-2)


def test_only_the_semantic_half_and_the_light_decoder_learn_from_it(tmp_path, monkeypatch):
    judge = CodecEncoder(str(recogniser(tmp_path / "s3", monkeypatch)))
    loss = ResynthesisLoss(decoder(), DeepFeatureLoss(judge, squared=True))
    trained, wave = codec().train(), torch.randn(2, 1, 5 * HOP)
    task = CodecTask(trained, {}, latent_losses={"meaning": loss})
    optimized = {
        id(p) for group in task.configure_optimizers()[0].param_groups for p in group["params"]
    }
    assert {id(p) for p in loss.decoder.parameters()} <= optimized
    assert not {id(p) for p in judge.parameters()} & optimized
    quantized = trained(wave).quantized
    loss(quantized.of_levels(loss.semantic), wave).backward()
    names = {n for n, p in trained.named_parameters() if p.grad is not None and p.grad.any()}
    assert names and all(".semantic." in f".{name}" for name in names)
    assert {name.partition(".")[0] for name in names} == {"encoder", "quantizer"}
    assert all(p.grad is not None for p in loss.decoder.parameters())
    assert all(p.grad is None for p in judge.parameters())


def test_the_judge_is_in_no_checkpoint_and_the_light_decoder_is(tmp_path, monkeypatch):
    judge = CodecEncoder(str(recogniser(tmp_path / "s3", monkeypatch)))
    loss = ResynthesisLoss(decoder(), DeepFeatureLoss(judge))
    task = CodecTask(codec(), {}, latent_losses={"meaning": loss})
    own = {name for name in task.state_dict() if name.startswith("latent_losses")}
    assert own == {f"latent_losses.meaning.decoder.{name}" for name in loss.decoder.state_dict()}
    before = {name: value.clone() for name, value in judge.encoder.named_parameters()}
    task.load_state_dict(task.state_dict())
    assert all(torch.equal(value, before[name]) for name, value in judge.encoder.named_parameters())


def test_what_is_no_recogniser_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no codec at nowhere"):
        CodecEncoder("nowhere")
    save(image_small(), tmp_path / "image")
    with pytest.raises(
        ValueError, match="image is image_small.*, no codec of one channel of sound"
    ):
        CodecEncoder(str(tmp_path / "image"))
