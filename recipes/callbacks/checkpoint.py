"""Checkpoints to go on from: whole or not there, checked when read, saved between two batches.

A file appears under its name when all of it is on the disk, and `last.ckpt` becomes `previous.ckpt`
before the next one takes its place. The format is torch's own, a zip archive, whose checksums are
verified before anything is read: `intaglio.codecs.load` reads these files too.

What a resumed training does is what it would have done: the state is taken where one batch is over
and the next has not begun, and Lightning's counters are stored as they stand there.
"""

import enum
import os
import signal
import threading
import zipfile
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from intaglio.codecs.layers.distributed import summed

FOLDER, LAST, PREVIOUS = "checkpoints", "last.ckpt", "previous.ckpt"
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Place(enum.Enum):
    """Where in the training a checkpoint is taken."""

    BETWEEN = "between two batches"
    VALIDATION = "in a validation"
    END = "at the end"


class CheckedIO(TorchCheckpointIO):
    """Writes checkpoints that are whole or not there, and reads none that is damaged."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a file; one called ``last.ckpt`` keeps the one before as ``previous.ckpt``.

        Raises:
            OSError: it cannot be written; what was there before is still there.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                try:
                    torch.save(checkpoint, file)
                except RuntimeError as error:  # torch's word for what went wrong with the file
                    raise (error.__context__ or error) from None
                file.flush()
                os.fsync(file.fileno())
            if path.name == LAST and path.exists():
                os.replace(path, path.with_name(PREVIOUS))
            os.replace(part, path)
            _flush_folder(path.parent)
        finally:
            part.unlink(missing_ok=True)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a file.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is damaged.
        """
        check(Path(path))
        try:
            return super().load_checkpoint(path, map_location, weights_only)
        except (RuntimeError, UnicodeError) as error:  # of fields that the checksums do not cover
            raise ValueError(f"the checkpoint {path} is damaged: {error!r}") from error


def check(path: Path) -> None:
    """Verify the checksums of a checkpoint.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or no checkpoint.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no checkpoint at {path}") from error
    except PermissionError:
        raise
    except Exception as error:  # the archive's reader has a dozen kinds
        raise ValueError(f"the checkpoint {path} is damaged: {error!r}") from error
    if damaged is not None:
        raise ValueError(f"the checkpoint {path} is damaged in {damaged}")


def newest(folder: Path) -> Path | None:
    """The newest undamaged checkpoint among the last ones of all starts of a run, if any.

    Damaged ones are named in a warning and passed over.

    Args:
        folder: of the run, with ``checkpoints`` in it or in its sub-folders.
    """
    found = [
        path
        for name in (LAST, PREVIOUS)
        for path in (*folder.glob(f"{FOLDER}/{name}"), *folder.glob(f"*/{FOLDER}/{name}"))
    ]
    for path in sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            CheckedIO().load_checkpoint(path, weights_only=True)
        except (ValueError, OSError) as error:
            rank_zero_warn(f"{error}; looking for the one before it")
            continue
        return path
    return None


def run_folder(trainer: Trainer) -> Path:
    """Folder of a run, the same for all its starts: each start logs to a sub-folder of its own."""
    for logger in trainer.loggers[:1]:
        if isinstance(logger, CSVLogger | TensorBoardLogger):
            return Path(logger.root_dir)
        if logger.save_dir is not None:
            return Path(logger.save_dir)
    return Path(trainer.default_root_dir)


class LastCheckpoint(Checkpoint):
    """Save what a training needs to go on: ``checkpoints/last.ckpt`` beside the logs.

    A resumed training goes on with the files that it was resumed from. They are saved every so many
    steps, at the end, when the data fail, and on SIGTERM, SIGUSR1 or Ctrl-C; these end the process
    with status 128 + the number of the signal, after the batch or validation batch that is under
    way. A second Ctrl-C ends it at once.

    Name it after all other callbacks: what they do with a batch belongs to the state.

    Args:
        every_n_steps: steps between two checkpoints.
    """

    def __init__(self, every_n_steps: int = 500) -> None:
        if every_n_steps < 1:
            raise ValueError(f"checkpoints every {every_n_steps} steps cannot be saved")
        self.every_n_steps = every_n_steps
        self.path = Path()
        self.saved_step = 0
        self.signal = 0
        self.in_step = False
        self.place: Place | None = None
        self.logged_batches: int | None = None
        self.stored_batches: int | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let all checkpoints of this trainer be written and read with care."""
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = CheckedIO()
        self.path = Path(trainer.log_dir or trainer.default_root_dir) / FOLDER / LAST

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the signals from Lightning, which would act in the middle of a step."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._note)

    on_train_start = on_sanity_check_start

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time; stop if a signal came."""
        if self.logged_batches is not None:  # the first batch after a checkpoint
            trainer.fit_loop.epoch_loop._batches_that_stepped = self.logged_batches
            self.logged_batches = None
        stop = self._asked_to_stop(pl_module)
        if stop or trainer.global_step % self.every_n_steps == 0:
            self._save(trainer, Place.BETWEEN)
        if stop:
            self._stop(trainer)
        self.in_step = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The weights and what is known of them fit together again."""
        self.in_step = False

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop if a signal came; a resumed training begins with the validation."""
        fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if fitting and self._asked_to_stop(pl_module):
            self._save(trainer, Place.VALIDATION)
            self._stop(trainer)

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """As `on_validation_start`, unless other processes may have no such batch."""
        if trainer.world_size == 1:
            self.on_validation_start(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last step; a training of more steps can go on from it."""
        self._save(trainer, Place.END)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Save, unless it struck in the middle of a step, half of which must not be kept."""
        if self.in_step or trainer.world_size > 1 or trainer.sanity_checking:
            return
        count = trainer.fit_loop.epoch_loop.batch_progress.current
        if trainer.state.fn != TrainerFn.FITTING or count.ready != count.completed:
            return
        if trainer.validating:
            self._save(trainer, Place.VALIDATION)
        elif count.completed < trainer.num_training_batches:
            self._save(trainer, Place.BETWEEN)

    def state_dict(self) -> dict[str, Any]:
        """What Lightning does not restore."""
        return {"logged_batches": self.stored_batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep it for the first batch."""
        self.logged_batches = state_dict["logged_batches"]

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse to go on with another model than the checkpoint's.

        Raises:
            ValueError: the arguments of the model differ.
        """
        if trainer.state.fn != TrainerFn.FITTING:
            return
        ours, theirs = dict(pl_module.hparams), checkpoint.get("hyper_parameters", {})
        changed = sorted(name for name in ours if name in theirs and ours[name] != theirs[name])
        if changed:
            raise ValueError(
                f"the checkpoint was trained with another model: {', '.join(changed)} differ; go "
                "on with the arguments that it was begun with, or begin a new run in another "
                "folder: --trainer.default_root_dir"
            )
        self.saved_step = checkpoint["global_step"]
        self._go_on_beside(trainer, Path(str(trainer.ckpt_path)))

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put Lightning's counters right for the place where the training goes on."""
        if self.place is not None:
            counts = checkpoint["loops"]["fit_loop"]
            _arrange(counts, self.place, trainer.num_training_batches)

    def _go_on_beside(self, trainer: Trainer, source: Path) -> None:
        """Keep one pair of files for all starts of a run, and nothing else that they left."""
        if source.name not in (LAST, PREVIOUS):
            return
        self.path = source.with_name(LAST)
        if trainer.is_global_zero:
            for part in source.parent.glob(f".{LAST}.*.part"):
                part.unlink(missing_ok=True)
            if source.name == PREVIOUS:  # the last one is damaged and must not take its place
                self.path.unlink(missing_ok=True)

    def _save(self, trainer: Trainer, place: Place) -> None:
        if trainer.global_step == self.saved_step and place is not Place.VALIDATION:
            return
        logged = trainer.fit_loop.epoch_loop._batches_that_stepped
        self.place, self.stored_batches = place, logged + (place is Place.VALIDATION)
        trainer.save_checkpoint(self.path)
        self.place, self.stored_batches = None, None
        self.saved_step = trainer.global_step

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number

    def _asked_to_stop(self, pl_module: LightningModule) -> bool:
        """Whether any process has got a signal."""
        if pl_module.trainer.world_size == 1:
            return self.signal != 0
        return bool(summed(torch.tensor(self.signal, device=pl_module.device)))

    def _stop(self, trainer: Trainer) -> None:
        rank_zero_info(f"stopped by a signal after step {trainer.global_step}, saved {self.path}")
        # a status of another process would make Lightning kill this one before it is done
        status = 128 + (self.signal or signal.SIGTERM)
        raise SystemExit(status if trainer.is_global_zero else 0)


def _arrange(counts: dict[str, Any], place: Place, num_batches: float) -> None:
    """Change the stored counters of the loops to those of a training that goes on at ``place``."""
    batches, epochs = counts["epoch_loop.batch_progress"], counts["epoch_progress"]
    for count in (batches["total"], batches["current"]):  # a batch that has not begun, has not
        count["ready"] = count["started"] = count["completed"]
    validation = counts["epoch_loop.val_loop.batch_progress"]
    if place is Place.VALIDATION:  # begun, no batch of it done
        validation["total"] = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
        validation["current"] = dict.fromkeys(validation["total"], 0)
    elif place is Place.END and batches["current"]["completed"] == num_batches:
        batches["current"] = dict.fromkeys(batches["current"], 0)
        batches["is_last_batch"] = False
        validation["total"] = dict.fromkeys(validation["total"], 0)
    elif place is Place.END:  # Lightning takes the epoch for finished, but there is more of it
        for count in (epochs["total"], epochs["current"]):
            count["processed"] = count["completed"] = count["ready"] - 1


def _flush_folder(folder: Path) -> None:
    """Let the new names be on the disk, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
