"""Decoded validation images beside their originals, in every logger of a run."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from torch import Tensor

from intaglio.data.fitting import to_pixels
from intaglio.data.formats.image import decode_image
from intaglio.recipes.evaluation.image_plots import picture_grid

NAME = "reconstructions"


class PictureLogger(Callback):
    """Log the first validation images, originals above and decoded ones below.

    TensorBoard and wandb get them in their own form; beside a CSV log they are PNG files in
    ``samples/``.

    Args:
        num_images: images of the first validation batch.
        every_n_validations: validations between logs.
    """

    def __init__(self, num_images: int = 8, every_n_validations: int = 1) -> None:
        if num_images < 1 or every_n_validations < 1:
            raise ValueError(f"cannot log {num_images} images every {every_n_validations} times")
        self.num_images = num_images
        self.every = every_n_validations
        self.validations = 0

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Log the images of the first batch."""
        if batch_idx or dataloader_idx or trainer.sanity_checking or not trainer.is_global_zero:
            return
        if self.validations % self.every:
            return
        rows = [
            list(to_pixels(images[: self.num_images]))
            for images in (batch["image"], outputs["decoded"])
        ]
        picture = picture_grid(rows)
        for logger in trainer.loggers:
            _write(logger, picture, trainer.global_step)

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


def _write(logger: Logger, picture: bytes, step: int) -> None:
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(NAME, decode_image(picture), step)
    elif isinstance(logger, WandbLogger):
        import wandb

        pixels: Tensor = torch.permute(decode_image(picture), (1, 2, 0))
        logger.experiment.log({NAME: wandb.Image(pixels.numpy()), "trainer/global_step": step})
    elif isinstance(logger, CSVLogger):
        folder = Path(logger.log_dir) / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{NAME}_{step}.png").write_bytes(picture)
