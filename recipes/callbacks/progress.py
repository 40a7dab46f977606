"""The progress of a training in one line: steps, speed, time left, and as many metrics as fit."""

import datetime
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, Timer

ON_TERMINAL, IN_LOG = 0.2, 30.0  # seconds between two lines


class StepProgress(ProgressBar):
    """Progress on standard error: ``12/5500 steps, 1.8 it/s, 0:50:12 left, loss 4.534``.

    On a terminal the line is rewritten; elsewhere there is a new one every half minute. Metrics of
    a validation have a line of their own, which stays.
    """

    def __init__(self) -> None:
        super().__init__()
        self.enabled = True
        self.terminal = sys.stderr.isatty()
        self.shown, self.open = 0.0, False  # when there was a line, and whether it has an end
        self.evaluated = ""  # the line of the last batch that was not trained on
        self.first: tuple[float, int] | None = None  # when the first step was over, and its number

    @property
    def is_enabled(self) -> bool:
        """Whether there is a line that `print` has to mind; Lightning asks."""
        return self.enabled

    def disable(self) -> None:
        """Say nothing from now on."""
        self.enabled = False

    def enable(self) -> None:
        """Go on."""
        self.enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the line."""
        if self.terminal and self.enabled:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        print(*args, **kwargs)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The first step may take long: compilation, workers that start."""
        self.first = None
        self._show(_of(trainer.global_step, _last_step(trainer), "steps"))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the step."""
        step = trainer.global_step
        if self.first is None:
            self.first = (time.monotonic(), step)
        if not self._due():
            return
        parts = [_of(step, _last_step(trainer), "steps"), *self._speed(trainer, step)]
        self._show(", ".join([*parts, *_metrics(trainer, "train/")]))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the last line."""
        line = _of(trainer.global_step, _last_step(trainer), "steps")
        self._show(", ".join([line, *_metrics(trainer, "train/")]), keep=True)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Show the batch, of a validation, a test or a prediction."""
        stage, batches = _evaluated(trainer)
        self.evaluated = f"{stage}, {_of(batch_idx + 1, batches[dataloader_idx], 'batches')}"
        if self._due():
            self._show(self.evaluated)

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep a line with what was measured."""
        metrics = _metrics(trainer, "val/")
        if trainer.state.fn == "validate":
            self.on_test_end(trainer, pl_module)
        elif metrics and not trainer.sanity_checking:
            self._show(f"step {trainer.global_step}, validation: {', '.join(metrics)}", keep=True)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the last line."""
        self._show(self.evaluated, keep=True)

    on_predict_end = on_test_end

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the last line of a terminal."""
        if self.open and self.enabled:
            print(file=sys.stderr, flush=True)
        self.open = False

    def _speed(self, trainer: Trainer, step: int) -> list[str]:
        """Steps a second, and the time left, by the mean since the first step was over."""
        assert self.first is not None
        seconds, steps = time.monotonic() - self.first[0], step - self.first[1]
        parts = [f"{steps / seconds:.3g} it/s"] if steps and seconds else []
        left = [t.time_remaining() for t in trainer.callbacks if isinstance(t, Timer)]  # type: ignore[attr-defined]
        last = _last_step(trainer)
        if steps and last is not None:
            left.append(seconds / steps * (last - step))
        known = [value for value in left if value is not None]
        if known:
            parts.append(f"{datetime.timedelta(seconds=round(max(0.0, min(known))))} left")
        return parts

    def _due(self) -> bool:
        wait = ON_TERMINAL if self.terminal else IN_LOG
        return self.enabled and time.monotonic() - self.shown >= wait

    def _show(self, line: str, *, keep: bool = False) -> None:
        """Write a line, as many of its parts as fit."""
        if not self.enabled:
            return
        width = shutil.get_terminal_size().columns - 1
        while len(line) > width and ", " in line:
            line = line.rpartition(", ")[0]
        self.shown = time.monotonic()
        self.open = self.terminal and not keep
        start, end = ("\r", "\x1b[K" + "\n" * keep) if self.terminal else ("", "\n")
        print(f"{start}{line[:width]}", end=end, file=sys.stderr, flush=True)


def _evaluated(trainer: Trainer) -> tuple[str, Sequence[float]]:
    """What is running besides a training, and the batches of each of its loaders."""
    if trainer.testing:
        return "test", trainer.num_test_batches
    if trainer.predicting:
        return "predict", trainer.num_predict_batches
    sanity = trainer.sanity_checking
    return "validation", trainer.num_sanity_val_batches if sanity else trainer.num_val_batches


def _of(number: int, total: float | None, noun: str) -> str:
    known = total is not None and total != float("inf")
    return f"{number}/{total:.0f} {noun}" if known else f"{number} {noun}"


def _last_step(trainer: Trainer) -> int | None:
    """The step at which the training ends, if that is known."""
    ends = [trainer.max_steps] if trainer.max_steps > 0 else []
    epochs, batches = trainer.max_epochs or 0, trainer.num_training_batches
    if epochs > 0 and batches != float("inf"):
        ends.append(int(epochs * batches))
    return min(ends, default=None)


def _metrics(trainer: Trainer, prefix: str) -> list[str]:
    """Metrics for the line, by their names without the prefix."""
    return [
        f"{name.removeprefix(prefix)} {float(value):.4g}"
        for name, value in trainer.progress_bar_metrics.items()
        if name.startswith(prefix)
    ]
