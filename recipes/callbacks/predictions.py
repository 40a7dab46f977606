"""What `intaglio predict` leaves: the tokens of every clip, as files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from intaglio.codecs import AudioCodec, Tokens
from intaglio.data.formats.tokens import SUFFIX
from intaglio.recipes.commands.encode import write_item


class TokenFiles(BasePredictionWriter):
    """Write the tokens of every clip as ``predictions/NUMBER_NAME.intaglio`` beside the logs.

    Clips are at the level that validation gives them. To encode recordings as they are, use
    `intaglio encode`.
    """

    def __init__(self) -> None:
        super().__init__(write_interval="batch")
        self.fingerprint = ""
        self.count = 0

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
        codec, tokens = cast(AudioCodec, pl_module.codec), cast(Tokens, prediction)
        self.fingerprint = self.fingerprint or codec.fingerprint
        folder = Path(trainer.log_dir or trainer.default_root_dir) / "predictions"
        for item, path in enumerate(batch["path"]):
            target = folder / f"{self.count:06}_{Path(path).stem}{SUFFIX}"
            write_item(codec, self.fingerprint, tokens, target, item=item)
            self.count += 1
