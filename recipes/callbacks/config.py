"""The complete recipe of a run, next to its logs and in each of its checkpoints."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.trainer.states import TrainerFn

from intaglio.data.formats.atomic import replacing


class RecipeInCheckpoint(SaveConfigCallback):
    """Write the resolved recipe of a training into the folder of its logs, and into every
    checkpoint as YAML text.

    A checkpoint keeps it under ``recipe``, so that one file says how to repeat its run.
    """

    text = ""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write ``config.yaml``."""
        if stage != TrainerFn.FITTING:
            return
        folder = Path(trainer.log_dir or trainer.default_root_dir)  # on all processes
        if trainer.is_global_zero:
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(folder / self.config_filename) as part:
                part.write_text(self._recipe(), encoding="utf-8")

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the recipe; plain text, so that the file loads with ``weights_only=True``."""
        checkpoint["recipe"] = self._recipe()

    def _recipe(self) -> str:
        # only once: the parser checks what it writes, which takes as long as several steps
        self.text = self.text or self.parser.dump(self.config, skip_unset=False)
        return self.text
