"""Logs items of the first validation batch, every few validations."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class FirstBatch(Callback):
    """Base of callbacks that log items of the first validation batch in every logger of a run.

    Attributes:
        noun: what the items are, in a message.

    Args:
        count: items to log.
        every_n_validations: validations between logs.

    Raises:
        ValueError: one of the numbers is below 1.
    """

    noun = "items"

    def __init__(self, count: int, every_n_validations: int) -> None:
        if count < 1 or every_n_validations < 1:
            raise ValueError(
                f"cannot log {count} {self.noun} every {every_n_validations} validations"
            )
        self.count = count
        self.every = every_n_validations
        self.validations = 0

    def show(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any) -> None:
        """Log the first items of a batch; ``outputs`` is the result of the validation step."""
        raise NotImplementedError

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Show the first batch, in one process only."""
        if batch_idx or dataloader_idx or trainer.sanity_checking or not trainer.is_global_zero:
            return
        if self.validations % self.every == 0:
            self.show(trainer, pl_module, outputs, batch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the finished validation."""
        if not trainer.sanity_checking:
            self.validations += 1

    def state_dict(self) -> dict[str, Any]:
        """The count, for a resumed training."""
        return {"validations": self.validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the count."""
        self.validations = state_dict["validations"]
