"""What is shown of the first batch of a validation, every few validations."""

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
        ValueError: nothing to log, or never.
    """

    noun = "items"

    def __init__(self, count: int, every_n_validations: int) -> None:
        if count < 1 or every_n_validations < 1:
            raise ValueError(f"cannot log {count} {self.noun} every {every_n_validations} times")
        self.count = count
        self.every = every_n_validations
        self.validations = 0

    def show(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any) -> None:
        """Log the first items of a batch; ``outputs`` is what the validation step gave."""
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
        """Show the first batch, once for all processes."""
        if batch_idx or dataloader_idx or trainer.sanity_checking or not trainer.is_global_zero:
            return
        if self.validations % self.every == 0:
            self.show(trainer, pl_module, outputs, batch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count a validation that is done."""
        if not trainer.sanity_checking:
            self.validations += 1

    def state_dict(self) -> dict[str, Any]:
        """What is counted, for a training that goes on."""
        return {"validations": self.validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Count on."""
        self.validations = state_dict["validations"]
