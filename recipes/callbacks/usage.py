"""Codebook usage in training, counted over many steps instead of one batch."""

import logging
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from intaglio.codecs import Codec
from intaglio.codecs.layers.distributed import summed
from intaglio.codecs.quantizers.usage import counts_perplexity

log = logging.getLogger(__name__)


class CodeUsage(Callback):
    """Log the share of codes used, perplexity and dead codes; warn of a collapsing codebook.

    Args:
        window: steps over which codes are counted.
        alarm: warn if a window uses less than this share of the codes that its tokens could use.
    """

    def __init__(self, window: int = 100, alarm: float = 0.1) -> None:
        self.window = window
        self.alarm = alarm
        self.counts: Tensor | None = None
        self.steps = 0
        self.epoch: Tensor | None = None
        self.warned = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the codes of a step; a codec without any has nothing to count."""
        if not _codec(pl_module).vocab:
            return
        self.counts = self._added(self.counts, pl_module, outputs["ids"])
        self.steps += 1
        if self.steps < self.window:
            return
        share, ceiling = self._log(pl_module, self.counts, "train")
        self.counts, self.steps = None, 0
        if share < self.alarm * ceiling and not self.warned:
            self.warned = True
            log.warning(
                "only %.1f %% of the codes were used in the last %d steps, out of at most %.1f %%: "
                "the codebook is collapsing; lower the learning rate, raise dead_share "
                "or use a smaller codebook",
                100 * share,
                self.window,
                100 * ceiling,
            )

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the count."""
        if vocab := _codec(pl_module).vocab:
            self.epoch = self._added(None, pl_module, torch.zeros(0, len(vocab)))

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
        if self.epoch is not None:
            self.epoch = self._added(self.epoch, pl_module, outputs["ids"])

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the usage over the whole validation set."""
        if self.epoch is not None:
            self._log(pl_module, self.epoch, "val")

    def state_dict(self) -> dict[str, Any]:
        """The counts, for a resumed training."""
        return {"counts": self.counts, "steps": self.steps, "warned": self.warned}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the counts."""
        self.counts = state_dict["counts"]
        self.steps, self.warned = state_dict["steps"], state_dict["warned"]

    def _added(self, counts: Tensor | None, pl_module: LightningModule, ids: Tensor) -> Tensor:
        """Counts with those of the ids of all groups added, [groups, codes of the largest one]."""
        vocab = _codec(pl_module).vocab
        flat = ids.reshape(-1, len(vocab)).long()
        new = torch.stack([torch.bincount(column, minlength=max(vocab)) for column in flat.t()])
        return new if counts is None else counts.to(new.device) + new

    def _log(self, pl_module: LightningModule, counts: Tensor, stage: str) -> tuple[float, float]:
        """Log statistics of counts; the share of used codes, and the largest possible share."""
        vocab = _codec(pl_module).vocab
        counts = summed(counts)
        used = (counts > 0).sum().item()
        share = used / sum(vocab)
        tokens = counts.sum(1).tolist()  # of each group: that many codes can be used, or all
        ceiling = sum(map(min, tokens, vocab)) / sum(vocab)
        perplexities = torch.stack([counts_perplexity(group.float()) for group in counts])
        pl_module.log(f"{stage}/usage", share, sync_dist=True)
        pl_module.log(f"{stage}/usage_ceiling", ceiling, sync_dist=True)
        pl_module.log(f"{stage}/dead_codes", float(sum(vocab) - used), sync_dist=True)
        pl_module.log(f"{stage}/usage_perplexity", perplexities.mean(), sync_dist=True)
        return share, ceiling


def _codec(pl_module: LightningModule) -> Codec:
    return cast(Codec, pl_module.codec)
