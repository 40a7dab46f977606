"""How much of the codebook a training uses, over many steps instead of one batch."""

import logging
from collections import deque
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from intaglio.codecs import Codec
from intaglio.codecs.quantizers.usage import counts_perplexity

log = logging.getLogger(__name__)


class CodeUsage(Callback):
    """Log share of codes used, perplexity and dead codes; warn when a codebook collapses.

    Args:
        window: steps over which codes are counted.
        alarm: share of used codes below which a full window draws a warning.
    """

    def __init__(self, window: int = 100, alarm: float = 0.1) -> None:
        self.window = window
        self.alarm = alarm
        self.recent: deque[Tensor] = deque(maxlen=window)
        self.epoch: list[Tensor] = []
        self.warned = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the codes of a step."""
        self.recent.append(self._counts(pl_module, outputs["ids"]))
        if len(self.recent) < self.window or trainer.global_step % self.window:
            return
        share = self._log(pl_module, torch.stack(list(self.recent)).sum(0), "train")
        if share < self.alarm and not self.warned:
            self.warned = True
            log.warning(
                "only %.1f %% of the codes were used in the last %d steps: the codebook collapses; "
                "lower the learning rate, raise dead_below or use a smaller codebook",
                100 * share,
                self.window,
            )

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin counting anew."""
        self.epoch = []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the codes of a batch of clips."""
        self.epoch.append(self._counts(pl_module, outputs["ids"]))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the usage over the whole validation set."""
        if self.epoch:
            self._log(pl_module, torch.stack(self.epoch).sum(0), "val")

    def _counts(self, pl_module: LightningModule, ids: Tensor) -> Tensor:
        """Histogram of the ids of all groups, [groups, codes of the largest group]."""
        vocab = _codec(pl_module).vocab
        flat = ids.reshape(-1, len(vocab))
        return torch.stack([torch.bincount(column, minlength=max(vocab)) for column in flat.t()])

    def _log(self, pl_module: LightningModule, counts: Tensor, stage: str) -> float:
        vocab = _codec(pl_module).vocab
        used = (counts > 0).sum().item()
        share = used / sum(vocab)
        perplexities = torch.stack([counts_perplexity(group.float()) for group in counts])
        pl_module.log(f"{stage}/usage", share)
        pl_module.log(f"{stage}/dead_codes", float(sum(vocab) - used))
        pl_module.log(f"{stage}/usage_perplexity", perplexities.mean())
        return share


def _codec(pl_module: LightningModule) -> Codec:
    return cast(Codec, pl_module.codec)
