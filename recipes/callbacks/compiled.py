"""Compiles a codec in place: names of weights, checkpoints and exports do not change."""

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn


class CompiledCodec(Callback):
    """Compile a sub-module's forward pass with torch.compile before training.

    Args:
        name: the sub-module.
    """

    def __init__(self, name: str = "codec") -> None:
        self.name = name

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Mark it for compilation, which happens in the first batch."""
        module: nn.Module = pl_module.get_submodule(self.name)
        module.compile()
