"""A codec compiled in place: the names of its weights, checkpoints and exports stay as they are."""

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn


class CompiledCodec(Callback):
    """Compile a sub-module's forward pass with torch.compile before the training begins.

    Args:
        name: the sub-module.
    """

    def __init__(self, name: str = "codec") -> None:
        self.name = name

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compile it; the first batch does the work."""
        module: nn.Module = pl_module.get_submodule(self.name)
        module.compile()
