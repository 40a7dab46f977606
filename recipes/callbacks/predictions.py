"""What `intaglio predict` leaves: the tokens of every clip or image, as files."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from intaglio.codecs import Codec, Tokens
from intaglio.data.formats.printable import counted
from intaglio.data.formats.tokens import SUFFIX
from intaglio.recipes.callbacks.run_folder import RunTrainer
from intaglio.recipes.modalities import modality_of


class TokenFiles(BasePredictionWriter):
    """Write the tokens of all clips or images as ``predictions/NUMBER_NAME.intaglio`` by the logs.

    Clips are at the level, images of the size, that validation gives them. To encode files as they
    are, use `intaglio encode`.
    """

    def __init__(self) -> None:
        super().__init__(write_interval="batch")
        self.count = 0

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make a folder of their own."""
        if isinstance(trainer, RunTrainer):
            trainer.claim()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where the files are."""
        number = int(trainer.strategy.reduce(torch.tensor(self.count), reduce_op="sum"))
        if trainer.is_global_zero:
            files = counted(number, "token file")
            print(f"wrote {files}: {_folder(trainer)}", file=sys.stderr, flush=True)

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Write the items of a batch."""
        codec, tokens = pl_module.codec, prediction
        assert isinstance(codec, Codec) and isinstance(tokens, Tokens)
        modality = modality_of(codec)
        for item, path in enumerate(batch["path"]):
            # of several processes, each has every so many items: see `data.sampler.ShareSampler`
            number = self.count * trainer.world_size + trainer.global_rank
            target = _folder(trainer) / f"{number:06}_{Path(path).stem}{SUFFIX}"
            modality.write_item(codec, tokens, target, item=item)
            self.count += 1


def _folder(trainer: Trainer) -> Path:
    return Path(trainer.log_dir or trainer.default_root_dir) / "predictions"
