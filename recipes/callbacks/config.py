"""The whole recipe of a run, written into each of its checkpoints."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback


class RecipeInCheckpoint(SaveConfigCallback):
    """Write the resolved recipe into the folder of the logs, and into every checkpoint as YAML
    text.

    It is found there under ``recipe``: one file says how to repeat the run that it belongs to.
    """

    text = ""

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the recipe; plain text, so that the file loads with ``weights_only=True``."""
        # once: the parser checks all that it writes, which takes as long as some steps
        self.text = self.text or self.parser.dump(self.config, skip_unset=False)
        checkpoint["recipe"] = self.text
