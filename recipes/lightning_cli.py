"""The training commands: Lightning's command line, in which ``--ckpt_path last`` finds the run."""

import argparse
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from intaglio.recipes.callbacks.checkpoint_files import newest, run_folder
from intaglio.recipes.callbacks.config import RecipeInCheckpoint
from intaglio.recipes.callbacks.run_folder import RunTrainer
from intaglio.recipes.commands.options.trust import add_trust_option, importable, trusted

OLD_CALLS = r"\s+.*(JsonargparseDeprecationWarning|deprecated in v4)"


def build(args: list[str] | None = None, run: bool = True) -> LightningCLI:
    """Build what a recipe names, and run the command if there is one.

    A recipe is the user's program: what it names is imported, also from the current folder.

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
    words = sys.argv[1:] if args is None else args
    options = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_trust_option(options)
    trust = options.parse_known_args(words)[0].trust
    try:
        with trusted(trust), importable(modules_named_in(words)):
            return TrainingCLI(
                LightningModule,
                LightningDataModule,
                save_config_callback=RecipeInCheckpoint,
                trainer_class=RunTrainer,
                parser_kwargs={"parser_mode": "omegaconf+"},
                subclass_mode_model=True,
                subclass_mode_data=True,
                auto_configure_optimizers=False,
                args=args,
                run=run,
            )
    except ArgumentError as error:
        raise ValueError(str(error)) from error


def modules_named_in(words: Sequence[str]) -> list[str]:
    """What dotted names, as class paths are, begin with: in words of the command line that give a
    value, and in the recipes among them.
    """
    values = [word.partition("=")[2] if word.startswith("-") else word for word in words]
    texts = [
        Path(value).read_text("utf-8", "replace") if Path(value).is_file() else value
        for value in values
        if not re.search(r"[\n\0]", value)
    ]
    return re.findall(r"(?<![\w./-])([A-Za-z_]\w*)\.[A-Za-z_]", "\n".join(texts))


class TrainingCLI(LightningCLI):
    """Lightning's command line, where ``--ckpt_path last`` has another meaning.

    It is the newest undamaged checkpoint of any start of the run. If there is none, ``fit`` starts
    from the beginning, so that the same command can be given again whenever it was interrupted.
    """

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """A parser that raises ``ArgumentError`` where others print pages of usage and exit."""
        return super().init_parser(exit_on_error=False, **kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The options that `build` has read from the words."""
        add_trust_option(parser)

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
        folder = run_folder(self.trainer)
        if command != "fit" and isinstance(self.trainer, RunTrainer):
            self.trainer.leave_no_logs()
        arguments = self.config_init[command]
        if arguments.get("ckpt_path") != "last":
            return
        path = newest(folder)
        if path is None and required:
            raise FileNotFoundError(f"there is no undamaged checkpoint in {folder}: train first")
        arguments["ckpt_path"] = None if path is None else str(path)
