"""The training commands: Lightning's command line, in which ``--ckpt_path last`` finds the run."""

import warnings
from typing import Any

from jsonargparse import ArgumentError
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from intaglio.recipes.callbacks.checkpoint_files import newest, run_folder
from intaglio.recipes.callbacks.config import RecipeInCheckpoint

OLD_CALLS = r"\s+.*(JsonargparseDeprecationWarning|deprecated in v4)"


def build(args: list[str] | None = None, run: bool = True) -> LightningCLI:
    """Build what a recipe names, and run the command if there is one.

    Args:
        args: words of the command line; those of the process if None.
        run: the first word is a command to run; otherwise there is none and nothing runs.

    Raises:
        ValueError: the words or the recipe do not fit, or a part of it refuses its arguments.
    """
    # Lightning 2.6 still makes calls that jsonargparse 5 will drop, and advises to leave modules
    # out of the hyperparameters, although a codec is rebuilt from them when a checkpoint is loaded.
    warnings.filterwarnings("ignore", OLD_CALLS, DeprecationWarning)
    warnings.filterwarnings("ignore", r"Attribute .* is an instance of `nn\.Module`", UserWarning)
    # frozen parts are in evaluation mode on purpose
    warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode", UserWarning)
    try:
        return TrainingCLI(
            LightningModule,
            LightningDataModule,
            save_config_callback=RecipeInCheckpoint,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={"parser_mode": "omegaconf+"},
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            args=args,
            run=run,
        )
    except ArgumentError as error:
        raise ValueError(str(error)) from error


class TrainingCLI(LightningCLI):
    """Lightning's command line, where ``--ckpt_path last`` has another meaning.

    It is the newest undamaged checkpoint of any start of the run. If there is none, ``fit`` starts
    from the beginning, so that the same command can be given again whenever it was interrupted.
    """

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """A parser that raises ``ArgumentError`` where others print pages of usage and exit."""
        return super().init_parser(exit_on_error=False, **kwargs)

    def before_fit(self) -> None:
        """Resume the run if it has a checkpoint."""
        self._resolve_last("fit", required=False)

    def before_validate(self) -> None:
        """Find the checkpoint of ``last``."""
        self._resolve_last("validate", required=True)

    def before_test(self) -> None:
        """Find the checkpoint of ``last``."""
        self._resolve_last("test", required=True)

    def before_predict(self) -> None:
        """Find the checkpoint of ``last``."""
        self._resolve_last("predict", required=True)

    def _resolve_last(self, command: str, *, required: bool) -> None:
        """Replace the word ``last`` by the path of the checkpoint.

        Raises:
            FileNotFoundError: there is none although it is required.
        """
        arguments = self.config_init[command]
        if arguments.get("ckpt_path") != "last":
            return
        folder = run_folder(self.trainer)
        path = newest(folder)
        if path is None and required:
            raise FileNotFoundError(f"there is no undamaged checkpoint in {folder}: train first")
        arguments["ckpt_path"] = None if path is None else str(path)
