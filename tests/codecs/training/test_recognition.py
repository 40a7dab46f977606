"""RecognitionTask: it learns to read tokens, and evaluates from them."""

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch.utils.data import DataLoader

from intaglio.codecs.audio.speech_small import speech_small
from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.decoders.recogniser import RecogniserDecoder
from intaglio.codecs.encoders.recogniser import RecogniserEncoder
from intaglio.codecs.quantizers.continuous import IdentityBottleneck
from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.codecs.quantizers.vq import VectorQuantizer
from intaglio.codecs.training.recognition import RecognitionTask

TEXTS = ["ab", "ba", "aab", ""]


def tones():
    """A tone for each letter: 0.2 s of 400 Hz is an a, of 2 kHz a b, with pauses between."""
    time = torch.arange(3200) / 16_000
    waves = []
    for text in TEXTS:
        parts = [torch.zeros(1600)]
        for letter in text:
            pitch = {"a": 400, "b": 2000}[letter]
            parts += [0.3 * torch.sin(2 * torch.pi * pitch * time), torch.zeros(1600)]
        waves.append(torch.cat(parts))
    lengths = torch.tensor([len(wave) for wave in waves])
    wave = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True).unsqueeze(1)
    return {"wave": wave, "lengths": lengths, "text": TEXTS, "path": TEXTS}


class Tones(LightningDataModule):
    """One epoch of the same batch, and a validation with it."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def train_dataloader(self):
        return DataLoader([tones()] * self.steps, batch_size=None)

    def val_dataloader(self):
        return DataLoader([tones()], batch_size=None)


def tiny(quantizer):
    encoder = RecogniserEncoder(64, 1, 2, num_mels=20, strides=(2, 2), memory=5)
    decoder = RecogniserDecoder(64, 640, 1, 2, text_depth=1, memory=5, dropout=0.0)
    return AudioCodec(encoder, quantizer, decoder, sample_rate=16_000)


def trained(quantizer, tmp_path, steps):
    torch.manual_seed(0)
    task = RecognitionTask(
        tiny(quantizer),
        {"commitment": 0.1},
        optimizer=lambda p: torch.optim.AdamW(p, 3e-3),
        warmup_steps=10,
        final_rate=1.0,
        clip_norm=1.0,
    )
    trainer = Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(task, datamodule=Tones(steps))
    return task, trainer.callback_metrics


pytestmark = pytest.mark.filterwarnings(
    "ignore:The '.*dataloader' does not have many workers",
    "ignore:Attribute 'optimizer' removed",
    "ignore:The number of training batches",
    "ignore:.*treespec.*:FutureWarning",
    "ignore:.*treespec.*:DeprecationWarning",
    r"ignore:Attribute .* is an instance of `nn\.Module`",
)


@pytest.mark.parametrize(
    "quantizer",
    [
        lambda: FSQ(64, (3,) * 8, margin=-1e-3),
        lambda: VectorQuantizer(64, 32),
        lambda: IdentityBottleneck(64),
    ],
    ids=["fsq", "vq", "none"],
)
def test_a_few_clips_are_learned(quantizer, tmp_path):
    """After 100 steps on four clips, letters are read from their tokens, most of them right."""
    task, metrics = trained(quantizer(), tmp_path, 100)
    heard, ids = task.transcripts(tones())
    assert ids.shape == (
        sum(-(-n // 640) for n in tones()["lengths"].tolist()),
        len(task.codec.vocab),
    )
    assert float(metrics["train/ctc"]) < 1.5  # nats a letter; 30 at first
    if task.codec.vocab != (32,):  # a codebook takes longer
        assert float(metrics["val/cer"]) < 0.3, heard
    if task.codec.vocab:  # the text depends on the tokens alone
        batch = tones()
        tokens = task.codec.encode_batch(batch)
        values = task.codec.quantizer.decode_ids(tokens.ids)
        assert task.eval().recogniser.transcripts(values, tokens.mask) == heard


def test_a_step_that_is_not_finite_is_taken_back(tmp_path, monkeypatch):
    task, _ = trained(VectorQuantizer(64, 8), tmp_path, 1)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    monkeypatch.setattr(task, "log", lambda *_, **__: None)
    task.train().training_step(tones(), 0)
    moved = task.state_dict()
    codes = "codec.quantizer._codebook.codes"
    assert not torch.equal(moved[codes], before[codes])
    before = {name: value.clone() for name, value in moved.items()}
    losses = {"ctc": torch.tensor(torch.nan, requires_grad=True)}
    monkeypatch.setattr(type(task.recogniser), "recognition_losses", lambda *_: losses)
    task.training_step(tones(), 0)  # after the codebook has moved
    assert task.skipped == {"recogniser": 1}
    after = task.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="speech_small has a VocosDecoder"):
        RecognitionTask(speech_small())
    with pytest.raises(ValueError, match="weights name no loss: ctcc"):
        RecognitionTask(tiny(FSQ(64, (3, 3))), {"ctcc": 1.0})
    task = RecognitionTask(tiny(FSQ(64, (3, 3))))
    batch = {name: value for name, value in tones().items() if name != "text"}
    with pytest.raises(ValueError, match="no text to recognise"):
        task.validation_step(batch, 0)
