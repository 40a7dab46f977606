"""Every training has a folder of its own, whatever its loggers."""

import threading
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger
from torch.utils.data import DataLoader

from intaglio.data.formats.atomic import replacing
from intaglio.recipes.callbacks.checkpoint import LastCheckpoint
from intaglio.recipes.callbacks.checkpoint_files import newest
from intaglio.recipes.callbacks.run_folder import RunTrainer

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"
)


class FlatLogger(DummyLogger):
    """Has one folder for all runs, as that of Weights & Biases."""

    def __init__(self, save_dir):
        super().__init__()
        self.folder = save_dir

    @property
    def save_dir(self):
        return str(self.folder)


class Tiny(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return self.layer(batch).square().sum()

    def validation_step(self, batch, batch_idx):
        self.log("loss", self.layer(batch).square().sum())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-3)


LOADER = DataLoader(torch.ones(1, 1))
LOGGERS = {
    "none": lambda folder: False,
    "flat": FlatLogger,
    "csv": lambda folder: CSVLogger(folder, name=""),
    "tensorboard": lambda folder: TensorBoardLogger(folder, name=""),
    "both": lambda folder: [CSVLogger(folder, name=""), TensorBoardLogger(folder, name="tb")],
}


def trainer_of(logger, folder, **options):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False}
    callbacks = [LastCheckpoint(1), ModelCheckpoint()]
    options = {"max_steps": 1, "accelerator": "cpu", "callbacks": callbacks, **quiet, **options}
    return RunTrainer(logger=logger, default_root_dir=folder, **options)


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", LOGGERS)
def test_no_run_writes_into_the_folder_of_another(kind, tmp_path):
    before = {}
    for number in range(3):
        trainer = trainer_of(LOGGERS[kind](tmp_path), tmp_path)
        trainer.fit(Tiny(), LOADER)
        folder = tmp_path / f"version_{number}"
        assert trainer.log_dir == str(folder)
        assert (folder / "checkpoints" / "last.ckpt").is_file()
        assert list(folder.glob("checkpoints/epoch*.ckpt"))
        now = files(tmp_path)
        assert {path: now[path] for path in before} == before
        before = now
    if kind == "both":
        names = [path.name for path in sorted((tmp_path / "tb").iterdir())]
        assert names == ["version_0", "version_1", "version_2"]
    assert newest(tmp_path) == folder / "checkpoints" / "last.ckpt"


def test_starts_at_the_same_time_get_different_folders(tmp_path):
    trainers = [trainer_of(False, tmp_path) for _ in range(8)]
    threads = [threading.Thread(target=trainer.claim) for trainer in trainers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(trainer.claimed.name for trainer in trainers) == [
        f"version_{number}" for number in range(8)
    ]


def test_a_new_start_removes_what_dead_ones_have_left_and_nothing_of_live_ones(tmp_path):
    dead, live = (tmp_path / f"version_{n}" / "checkpoints" / "last.ckpt" for n in (0, 1))
    for path in (dead, live):
        path.parent.mkdir(parents=True)
    (dead.parent / ".last.ckpt.intaglio-part").write_bytes(b"half")
    (dead.parent / "previous.ckpt").write_bytes(b"whole")
    with replacing(live) as part:
        part.write_bytes(b"whole")
        trainer = trainer_of(False, tmp_path)
        trainer.claim()
    assert trainer.claimed == tmp_path / "version_2"
    assert [path.name for path in dead.parent.iterdir()] == ["previous.ckpt"]
    assert live.read_bytes() == b"whole"


def test_a_folder_that_another_start_has_just_made_is_left_alone(tmp_path, monkeypatch):
    trainer, mkdir = trainer_of(False, tmp_path), Path.mkdir

    def late(path, *args, **kwargs):
        monkeypatch.setattr(Path, "mkdir", mkdir)
        path.mkdir()
        path.mkdir(*args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", late)
    trainer.claim()
    assert trainer.claimed == tmp_path / "version_1"


def test_a_version_of_another_run_is_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    trainer = trainer_of(CSVLogger(tmp_path, name="", version="mine"), tmp_path)
    with pytest.raises(FileExistsError, match="mine is the folder of another run"):
        trainer.fit(Tiny(), LOADER)
    assert list((tmp_path / "mine").iterdir()) == []


def test_what_trains_nothing_makes_no_folder(tmp_path):
    trainer = trainer_of(LOGGERS["both"](tmp_path), tmp_path)
    trainer.leave_no_logs()
    [scores] = trainer.validate(Tiny(), LOADER, verbose=False)
    assert "loss" in scores
    trainer = trainer_of(LOGGERS["flat"](tmp_path), tmp_path, fast_dev_run=True)
    trainer.fit(Tiny(), LOADER)
    assert list(tmp_path.iterdir()) == []
