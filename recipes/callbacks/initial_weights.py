"""Starts a training with the weights of another: fine-tuning."""

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from intaglio.codecs.bundle import load_part
from intaglio.codecs.part import Part


class InitialWeights(Callback):
    """Give a codec or a generator weights that were trained before, unless a run is resumed.

    Args:
        source: bundle, training checkpoint, or a name that comes with the package.
        name: of the part in the task, ``codec`` or ``generator``.
    """

    def __init__(self, source: str, name: str = "codec") -> None:
        self.source, self.name = source, name

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Copy the weights before optimizers and averages take them.

        Raises:
            FileNotFoundError: there is no such source.
            ValueError: it is damaged, or of another architecture.
        """
        if stage != TrainerFn.FITTING or trainer.ckpt_path is not None:
            return
        found = load_part(self.source, Part, self.name, trainable=True)
        try:
            pl_module.get_submodule(self.name).load_state_dict(found.state_dict())
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"the weights of {self.source} do not fit the {self.name} of the recipe: "
                f"{reason[:300]}"
            ) from error
