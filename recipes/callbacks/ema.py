"""Moving average of a codec's parameters, used for validation and for release.

Only parameters are averaged. A codebook with EMA updates is a buffer and an average already; a
second average would not fit the parameters that were trained with the first.
"""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor


class ParameterEMA(Callback):
    """Exponential moving average of the parameters of one sub-module.

    The average replaces the live parameters during validation, tests and prediction. Checkpoints
    hold both; `intaglio.codecs.load` reads the average.

    Args:
        decay: share of the old average that a step keeps. The first steps keep at most
            (1 + step) / (10 + step), so that the initial values do not linger.
        name: the sub-module.
    """

    def __init__(self, decay: float = 0.999, name: str = "codec") -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie in [0, 1), got {decay}")
        self.decay = decay
        self.name = name
        self.average: dict[str, Tensor] = {}
        self.live: dict[str, Tensor] = {}
        self.steps = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start from the current parameters, unless a checkpoint holds an average."""
        parameters = self._parameters(pl_module)
        if not self.average:
            self.average = {name: p.detach().clone() for name, p in parameters.items()}
        self.average = {n: a.to(parameters[n].device) for n, a in self.average.items()}

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the average, once for each step of the codec's optimiser."""
        if trainer.global_step == self.steps:
            return
        self.steps = trainer.global_step
        keep = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, parameter in self._parameters(pl_module).items():
            self.average[name].lerp_(parameter.detach(), 1 - keep)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace the live parameters by the average."""
        if self.average and not self.live:
            parameters = self._parameters(pl_module)
            self.live = {name: p.detach().clone() for name, p in parameters.items()}
            self._assign(pl_module, self.average)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the live parameters back."""
        if self.live:
            self._assign(pl_module, self.live)
            self.live = {}

    on_test_start = on_predict_start = on_validation_start
    on_test_end = on_predict_end = on_validation_end

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Store the average, and the live parameters even during a validation."""
        checkpoint["averaged_weights"] = {self.name: dict(self.average)}
        checkpoint["averaged_steps"] = self.steps
        for name, parameter in self.live.items():
            checkpoint["state_dict"][f"{self.name}.{name}"] = parameter

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore the average of an interrupted training, if it has one."""
        self.average = checkpoint.get("averaged_weights", {}).get(self.name, {})
        self.steps = checkpoint.get("averaged_steps", 0)

    def _parameters(self, pl_module: LightningModule) -> dict[str, Tensor]:
        return dict(pl_module.get_submodule(self.name).named_parameters())

    @torch.no_grad()
    def _assign(self, pl_module: LightningModule, values: dict[str, Tensor]) -> None:
        for name, parameter in self._parameters(pl_module).items():
            parameter.copy_(values[name])
