"""Logs the first steps of a training more often, so that the log of a short one is not empty."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class EarlyLogs(Callback):
    """Log each of the first ten steps, and every tenth of the first hundred.

    From then on every ``log_every_n_steps``, which is never made larger.
    """

    def __init__(self) -> None:
        self.configured: int | None = None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the interval of this step."""
        loop: Any = trainer
        if self.configured is None:
            self.configured = loop.log_every_n_steps
        step = trainer.fit_loop.epoch_loop._batches_that_stepped
        often = 1 if step < 10 else 10
        loop.log_every_n_steps = (
            min(self.configured, often) if step < 100 and self.configured else self.configured
        )
