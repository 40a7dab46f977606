"""Logs decoded validation images below their originals, in every logger of a run."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from torch import Tensor

from intaglio.data.formats.atomic import replacing
from intaglio.data.formats.image import decode_image
from intaglio.data.image_transforms import to_pixels
from intaglio.recipes.callbacks.first_batch import FirstBatch
from intaglio.recipes.evaluation.figures.images import picture_grid

NAME = "reconstructions"


class PictureLogger(FirstBatch):
    """Log the first validation images, originals above and decoded ones below.

    TensorBoard and wandb receive them as images; next to a CSV log they are PNG files in
    ``samples/``.

    Args:
        num_images: images of the first validation batch.
        every_n_validations: validations between logs.
    """

    noun = "images"

    def __init__(self, num_images: int = 8, every_n_validations: int = 1) -> None:
        super().__init__(num_images, every_n_validations)

    def show(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any) -> None:
        """Log one picture with all of them."""
        rows = [
            list(to_pixels(images[: self.count])) for images in (batch["image"], outputs["decoded"])
        ]
        picture = picture_grid(rows)
        for logger in trainer.loggers:
            _write(logger, picture, trainer.global_step)


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
        with replacing(folder / f"{NAME}_{step}.png") as part:
            part.write_bytes(picture)
