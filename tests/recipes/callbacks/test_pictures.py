"""`PictureLogger`: originals above decoded images, in every logger, counted across a resume."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from intaglio.data.formats.image import read_image
from intaglio.data.image_transforms import to_pixels
from intaglio.recipes.callbacks.pictures import PictureLogger


def validate(callback, loggers, step=12):
    trainer = SimpleNamespace(
        global_step=step, sanity_checking=False, is_global_zero=True, loggers=loggers
    )
    batch = {"image": 2 * torch.rand(3, 3, 64, 64) - 1}
    outputs = {"decoded": batch["image"].flip(3)}
    for number in range(2):
        callback.on_validation_batch_end(trainer, None, outputs, batch, number)
    callback.on_validation_end(trainer, None)
    return batch["image"]


def test_next_to_a_csv_log_there_is_a_file(tmp_path):
    images = validate(PictureLogger(2), [CSVLogger(tmp_path, name="run", version="")])
    (path,) = (tmp_path / "run" / "samples").iterdir()
    assert path.name == "reconstructions_12.png"
    picture = read_image(path)
    assert picture.shape == (3, 136, 136)
    assert torch.equal(picture[:, 2:66, 70:134], to_pixels(images[1]))
    assert torch.equal(picture[:, 70:134, 2:66], to_pixels(images[0]).flip(2))


def test_tensorboard_gets_an_image(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path, name="run", version="")
    validate(PictureLogger(), [logger])
    logger.experiment.flush()
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    assert events.Images("reconstructions")[0].step == 12


def test_every_other_validation_is_logged_across_a_resume(tmp_path):
    logger = CSVLogger(tmp_path, name="run", version="")
    first = PictureLogger(every_n_validations=2)
    validate(first, [logger], 1)
    again = PictureLogger(every_n_validations=2)
    again.load_state_dict(first.state_dict())
    for step in (2, 3, 4):
        validate(again, [logger], step)
    names = sorted(path.name for path in (tmp_path / "run" / "samples").iterdir())
    assert names == ["reconstructions_1.png", "reconstructions_3.png"]
    with pytest.raises(ValueError, match="0 images"):
        PictureLogger(0)
