"""What a training found and where it writes, in one block before the first step."""

import sys
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, Timer
from torch import nn

from intaglio.data.formats.printable import counted
from intaglio.recipes.callbacks.checkpoint import LastCheckpoint


class RunSummary(Callback):
    """Print the data, the sizes of the parts, the steps and the folder of a run on standard error.

    At the end it says how many steps were made, where the checkpoint is, and if there were to be
    more steps, why there are not.

    Attributes:
        begun: whether this process has made a step.
    """

    def __init__(self) -> None:
        self.shown = False
        self.begun = False

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the block, once."""
        folder = _folder(trainer)  # all processes agree on it
        if self.shown or not trainer.is_global_zero:
            return
        self.shown = True
        lines = {
            "data": _data(trainer),
            "model": _model(pl_module),
            "steps": _steps(trainer),
            "run": str(folder),
        }
        for name, text in lines.items():
            print(f"{name:6}{text}", file=sys.stderr)
        sys.stderr.flush()

    on_train_start = on_sanity_check_start

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A step was made."""
        self.begun = True

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print where the training has come to."""
        paths = [c.path for c in _checkpoints(trainer)] or [_folder(trainer)]
        if trainer.is_global_zero:
            if why := _early_end(trainer):
                print(f"ended early: {why}", file=sys.stderr)
            steps = counted(trainer.global_step, "step")
            print(f"trained {steps}: {paths[0]}", file=sys.stderr, flush=True)


def _data(trainer: Trainer) -> str:
    module: Any = trainer.datamodule  # type: ignore[attr-defined]
    summary = getattr(module, "summary", None)
    return summary() if callable(summary) else type(module).__name__


def _model(task: LightningModule) -> str:
    """Sizes of the parts that have parameters."""
    parts = {name: _millions(module) for name, module in task.named_children()}
    name = getattr(getattr(task, "codec", None) or getattr(task, "generator", None), "name", "")
    return ", ".join(
        filter(None, [name, *(f"{part} {size}" for part, size in parts.items() if size)])
    )


def _millions(module: nn.Module) -> str:
    learned, frozen = (
        sum(p.numel() for p in module.parameters() if p.requires_grad is learns) / 1e6
        for learns in (True, False)
    )
    if not frozen:
        return f"{learned:.3g} M parameters" if learned else ""
    return f"{learned:.3g} M parameters and {frozen:.3g} M frozen ones"


def _steps(trainer: Trainer) -> str:
    ends = [f"{trainer.max_steps}"] if trainer.max_steps > 0 else []
    ends += [counted(trainer.max_epochs or 0, "epoch")] if (trainer.max_epochs or 0) > 0 else []
    done = f"{trainer.global_step} of " if trainer.global_step else ""
    processes = f", {trainer.world_size} processes" if trainer.world_size > 1 else ""
    device = trainer.strategy.root_device.type
    end = " or ".join(ends) or "no end"
    return f"{done}{end}, on {device}, precision {trainer.precision}{processes}"


def _early_end(trainer: Trainer) -> str:
    """Why there are no more steps although the recipe allows them; "" if it does not."""
    if not trainer.should_stop or 0 < trainer.max_steps <= trainer.global_step:
        return ""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Timer) and (callback.time_remaining() or 1) <= 0:
            return "the time that --trainer.max_time gives is over"
        if isinstance(callback, EarlyStopping) and callback.stopping_reason_message:
            if callback.wait_count < callback.patience:  # the value itself ends it
                return callback.stopping_reason_message.partition(" Signaling")[0]
            checks = counted(callback.wait_count, "check")
            best = float(callback.best_score)
            return f"{callback.monitor} did not improve in {checks}; the best was {best:.4g}"
    return "a callback asked for it"


def _checkpoints(trainer: Trainer) -> list[LastCheckpoint]:
    return [c for c in trainer.checkpoint_callbacks if isinstance(c, LastCheckpoint)]


def _folder(trainer: Trainer) -> Path:
    """Where the run is written; a resumed one keeps its checkpoints where they were."""
    return Path(trainer.log_dir or trainer.default_root_dir)
