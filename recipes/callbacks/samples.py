"""Decoded validation clips to listen to and look at, in every logger of a run."""

import io
from pathlib import Path
from typing import Any, cast

import soundfile
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from intaglio.codecs import AudioCodec
from intaglio.recipes.evaluation.signal_plots import Sound, spectrograms


class SampleLogger(Callback):
    """Log original and decoded audio, and their spectrograms, of the first validation clips.

    TensorBoard and wandb get them in their own form; beside a CSV log they are files in
    ``samples/``. Without matplotlib (``pip install 'intaglio[demo]'``) there are no spectrograms.

    Args:
        num_clips: clips of the first validation batch.
        every_n_validations: validations between logs.
    """

    def __init__(self, num_clips: int = 2, every_n_validations: int = 1) -> None:
        self.num_clips = num_clips
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
        """Log the clips of the first batch."""
        if batch_idx or dataloader_idx or trainer.sanity_checking or not trainer.is_global_zero:
            return
        if self.validations % self.every:
            return
        rate = cast(AudioCodec, pl_module.codec).sample_rate
        for place in range(min(self.num_clips, len(batch["wave"]))):
            size = int(batch["lengths"][place])
            pair = [
                wave[place, 0, :size].float().cpu() for wave in (batch["wave"], outputs["decoded"])
            ]
            picture = _picture(pair, rate)
            for logger in trainer.loggers:
                _write(logger, f"clip_{place}", pair, picture, rate, trainer.global_step)

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
            logger.experiment.add_image(f"{name}/spectrograms", _pixels(picture), step)
    elif isinstance(logger, WandbLogger):
        import wandb

        media: dict[str, Any] = {
            f"{name}/{kind}": wandb.Audio(wave.numpy(), rate) for kind, wave in sounds.items()
        }
        if picture:
            media[f"{name}/spectrograms"] = wandb.Image(_pixels(picture).permute(1, 2, 0).numpy())
        logger.experiment.log(media | {"trainer/global_step": step})
    elif isinstance(logger, CSVLogger):
        folder = Path(logger.log_dir) / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        for kind, wave in sounds.items():
            soundfile.write(folder / f"{name}_{kind}_{step}.flac", wave.clamp(-1, 1).numpy(), rate)
        if picture:
            (folder / f"{name}_{step}.png").write_bytes(picture)


def _pixels(png: bytes) -> Tensor:
    """Colours, uint8 [3, height, width], of an image."""
    from matplotlib.image import imread

    return torch.from_numpy(255 * imread(io.BytesIO(png))[..., :3]).byte().permute(2, 0, 1)
