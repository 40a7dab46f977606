"""Logs decoded validation clips as audio and spectrograms, in every logger of a run."""

from pathlib import Path
from typing import Any, cast

import soundfile
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from intaglio.codecs import AudioCodec
from intaglio.data.formats.atomic import replacing
from intaglio.data.formats.image import decode_image
from intaglio.recipes.callbacks.first_batch import FirstBatch
from intaglio.recipes.evaluation.figures.signals import Sound, spectrograms


class SampleLogger(FirstBatch):
    """Log original and decoded audio, and their spectrograms, of the first validation clips.

    TensorBoard and wandb receive them as media; next to a CSV log they are files in ``samples/``.
    Spectrograms need matplotlib (``pip install 'intaglio[demo]'``).

    Args:
        num_clips: clips of the first validation batch.
        every_n_validations: validations between logs.
    """

    noun = "clips"

    def __init__(self, num_clips: int = 2, every_n_validations: int = 1) -> None:
        super().__init__(num_clips, every_n_validations)

    def show(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any) -> None:
        """Log each clip."""
        rate = cast(AudioCodec, pl_module.codec).sample_rate
        for item in range(min(self.count, len(batch["wave"]))):
            length = int(batch["lengths"][item])
            pair = [
                wave[item, 0, :length].float().cpu() for wave in (batch["wave"], outputs["decoded"])
            ]
            picture = _picture(pair, rate)
            for logger in trainer.loggers:
                _write(logger, f"clip_{item}", pair, picture, rate, trainer.global_step)


def _picture(pair: list[Tensor], rate: int) -> bytes | None:
    try:
        return spectrograms([Sound("original", pair[0]), Sound("decoded", pair[1])], rate)
    except ModuleNotFoundError as error:
        rank_zero_warn(f"no spectrograms are drawn: {error}")
        return None


def _write(
    logger: Logger, name: str, pair: list[Tensor], picture: bytes | None, rate: int, step: int
) -> None:
    sounds = dict(zip(("original", "decoded"), pair, strict=True))
    if isinstance(logger, TensorBoardLogger):
        for kind, wave in sounds.items():
            logger.experiment.add_audio(f"{name}/{kind}", wave[None], step, rate)
        if picture:
            logger.experiment.add_image(f"{name}/spectrograms", decode_image(picture), step)
    elif isinstance(logger, WandbLogger):
        import wandb

        media: dict[str, Any] = {
            f"{name}/{kind}": wandb.Audio(wave.numpy(), rate) for kind, wave in sounds.items()
        }
        if picture:
            media[f"{name}/spectrograms"] = wandb.Image(
                decode_image(picture).permute(1, 2, 0).numpy()
            )
        logger.experiment.log(media | {"trainer/global_step": step})
    elif isinstance(logger, CSVLogger):
        folder = Path(logger.log_dir) / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        for kind, wave in sounds.items():
            with replacing(folder / f"{name}_{kind}_{step}.flac") as part:
                soundfile.write(part, wave.clamp(-1, 1).numpy(), rate, format="FLAC")
        if picture:
            with replacing(folder / f"{name}_{step}.png") as part:
                part.write_bytes(picture)
