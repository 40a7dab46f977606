"""A checkpoint from which training resumes exactly, saved between two batches.

A resumed training does what it would have done without the interruption: the state is saved when
one batch is over and the next has not begun, with the counters of Lightning's loops as they stand
there.
"""

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info

from intaglio.codecs.layers.distributed import summed
from intaglio.codecs.part import as_written
from intaglio.data.formats.locks import sweep
from intaglio.recipes.callbacks.checkpoint_files import FOLDER, LAST, PREVIOUS, CheckedIO
from intaglio.recipes.callbacks.loop_counters import SavePoint, check_counters, correct_counters

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class LastCheckpoint(Checkpoint):
    """Save what a training needs to resume: ``checkpoints/last.ckpt`` next to the logs.

    A resumed training keeps writing to the file that it was resumed from. It is saved every so many
    steps, at the end, when the data fail, and on SIGTERM, SIGUSR1 or Ctrl-C; these end the process
    with status 128 + the number of the signal, after the current training or validation batch. A
    second Ctrl-C ends it at once.

    List it after all other callbacks: what they do with a batch belongs to the state.

    Args:
        every_n_steps: steps between two checkpoints.
    """

    def __init__(self, every_n_steps: int = 500) -> None:
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps must be at least 1, got {every_n_steps}")
        self.every_n_steps = every_n_steps
        self.path = Path()
        self.saved_step = 0
        self.signal = 0
        self.in_step = False
        self.point: SavePoint | None = None
        self.logged_batches: int | None = None
        self.stored_batches: int | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have all checkpoints of this trainer written and read by `CheckedIO`."""
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
            self._save(trainer, SavePoint.BETWEEN_BATCHES)
        if stop:
            self._stop(trainer)
        self.in_step = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """From here on the state is consistent again."""
        self.in_step = False

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop if a signal came; a resumed training begins with the validation."""
        fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if fitting and self._asked_to_stop(pl_module):
            self._save(trainer, SavePoint.VALIDATION)
            self._stop(trainer)

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """As `on_validation_start`, unless there are processes that may not have this batch."""
        if trainer.world_size == 1:
            self.on_validation_start(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last step, so that a longer training can resume from it."""
        self._save(trainer, SavePoint.END)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Save, unless it was raised within a step, half of which must not be kept."""
        if self.in_step or trainer.world_size > 1 or trainer.sanity_checking:
            return
        count = trainer.fit_loop.epoch_loop.batch_progress.current
        if trainer.state.fn != TrainerFn.FITTING or count.ready != count.completed:
            return
        if trainer.validating:
            self._save(trainer, SavePoint.VALIDATION)
        elif count.completed < trainer.num_training_batches:
            self._save(trainer, SavePoint.BETWEEN_BATCHES)

    def state_dict(self) -> dict[str, Any]:
        """The counter that Lightning does not restore."""
        return {"logged_batches": self.stored_batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the counter for the first batch."""
        self.logged_batches = state_dict["logged_batches"]

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse to resume with a model other than the checkpoint's, or from nowhere.

        Raises:
            ValueError: the arguments of the model differ, or counters are missing or wrong.
        """
        if trainer.state.fn != TrainerFn.FITTING:
            return
        ours, theirs = map(as_written, (pl_module.hparams, checkpoint.get("hyper_parameters", {})))
        changed = sorted(name for name in ours if name in theirs and ours[name] != theirs[name])
        if changed:
            raise ValueError(
                f"the checkpoint was trained with another model: {', '.join(changed)} differ; go "
                "on with the arguments that it was started with, or start a new run in another "
                "folder: --trainer.default_root_dir"
            )
        try:
            check_counters(checkpoint, trainer.fit_loop.state_dict())
        except ValueError as error:
            raise ValueError(
                f"cannot go on from the checkpoint {trainer.ckpt_path}: {error}; it is damaged or "
                "of another program: give another one, or start without --ckpt_path"
            ) from error
        self.saved_step = checkpoint["global_step"]
        self._continue_files_of(trainer, Path(str(trainer.ckpt_path)))

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Correct Lightning's counters for the point where the training goes on."""
        if self.point is not None:
            counts = checkpoint["loops"]["fit_loop"]
            correct_counters(counts, self.point, trainer.num_training_batches)

    def _continue_files_of(self, trainer: Trainer, source: Path) -> None:
        """Keep one pair of files for all starts of a run, and remove what a killed one left."""
        if source.name not in (LAST, PREVIOUS):
            return
        self.path = source.with_name(LAST)
        if trainer.is_global_zero:
            sweep(source.parent)
            if source.name == PREVIOUS:  # the last one is damaged and must not replace it
                self.path.unlink(missing_ok=True)

    def _save(self, trainer: Trainer, point: SavePoint) -> None:
        same = trainer.global_step == self.saved_step and point is not SavePoint.VALIDATION
        if same or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        logged = trainer.fit_loop.epoch_loop._batches_that_stepped
        self.point, self.stored_batches = point, logged + (point is SavePoint.VALIDATION)
        trainer.save_checkpoint(self.path, weights_only=False)  # with the optimizers
        self.point, self.stored_batches = None, None
        self.saved_step = trainer.global_step

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number

    def _asked_to_stop(self, pl_module: LightningModule) -> bool:
        """Whether any process has received a signal."""
        if pl_module.trainer.world_size == 1:
            return self.signal != 0
        return bool(summed(torch.tensor(self.signal, device=pl_module.device)))

    def _stop(self, trainer: Trainer) -> None:
        rank_zero_info(f"stopped by a signal after step {trainer.global_step}, saved {self.path}")
        # a failing status would make Lightning kill the first process before it is done
        status = 128 + (self.signal or signal.SIGTERM)
        raise SystemExit(status if trainer.is_global_zero else 0)
