"""The complete recipe of a run, written into each of its checkpoints."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback


class RecipeInCheckpoint(SaveConfigCallback):
    """Write the resolved recipe into the folder of the logs, and into every checkpoint as YAML
    text.

    A checkpoint keeps it under ``recipe``, so that one file says how to repeat its run.
    """

    text = ""

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the recipe; plain text, so that the file loads with ``weights_only=True``."""
        # only once: the parser checks what it writes, which takes as long as several steps
        self.text = self.text or self.parser.dump(self.config, skip_unset=False)
        checkpoint["recipe"] = self.text
