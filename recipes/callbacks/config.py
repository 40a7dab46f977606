"""The whole recipe of a run, written into each of its checkpoints."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback


class RecipeInCheckpoint(SaveConfigCallback):
    """Write the resolved recipe into the folder of the logs, and into every checkpoint as YAML
    text.

    It is found there under ``recipe``: one file says how to repeat the run that it belongs to.
    """

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the recipe; plain text, so that the file loads with ``weights_only=True``."""
        checkpoint["recipe"] = self.parser.dump(self.config, skip_unset=False)
