from types import SimpleNamespace

import pytest
import soundfile
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger

from intaglio.recipes.callbacks.samples import SampleLogger


def validate(callback, loggers):
    trainer = SimpleNamespace(
        global_step=12, sanity_checking=False, is_global_zero=True, loggers=loggers
    )
    module = SimpleNamespace(codec=SimpleNamespace(sample_rate=8000))
    batch = {"wave": 0.1 * torch.randn(3, 1, 4000), "lengths": torch.tensor([4000, 3000, 4000])}
    outputs = {"decoded": 0.1 * torch.randn(3, 1, 4000)}
    callback.on_validation_batch_end(trainer, module, outputs, batch, 0)
    callback.on_validation_batch_end(trainer, module, outputs, batch, 1)
    callback.on_validation_end(trainer, module)
    return batch


def test_next_to_a_csv_log_there_are_files(tmp_path):
    logger = CSVLogger(tmp_path, name="run", version="")
    batch = validate(SampleLogger(num_clips=2), [logger])
    names = sorted(path.name for path in (tmp_path / "run" / "samples").iterdir())
    assert names == [
        *("clip_0_12.png", "clip_0_decoded_12.flac", "clip_0_original_12.flac"),
        *("clip_1_12.png", "clip_1_decoded_12.flac", "clip_1_original_12.flac"),
    ]
    wave, rate = soundfile.read(tmp_path / "run" / "samples" / "clip_1_original_12.flac")
    assert (len(wave), rate) == (3000, 8000)
    torch.testing.assert_close(
        torch.from_numpy(wave).float(), batch["wave"][1, 0, :3000], atol=1e-4, rtol=0
    )


def test_tensorboard_gets_sounds_and_images(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path, name="run", version="")
    validate(SampleLogger(num_clips=1), [logger])
    logger.experiment.flush()
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    assert events.Tags()["audio"] == ["clip_0/original", "clip_0/decoded"]
    assert events.Images("clip_0/spectrograms")[0].step == 12


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_wandb_works_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(save_dir=tmp_path, project="intaglio", offline=True)
    validate(SampleLogger(num_clips=1), [logger])
    logger.experiment.finish()
    files = {path.suffix for path in tmp_path.rglob("media/**/*") if path.is_file()}
    assert files == {".wav", ".png"}


def test_some_validations_are_left_out(tmp_path):
    logger = CSVLogger(tmp_path, name="run", version="")
    callback = SampleLogger(num_clips=1, every_n_validations=2)
    for _ in range(2):
        validate(callback, [logger])
    assert callback.validations == 2
    assert len(list((tmp_path / "run" / "samples").iterdir())) == 3
