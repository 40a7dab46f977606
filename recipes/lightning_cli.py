"""The training commands: Lightning's command line, in which ``--ckpt_path last`` finds the run."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from intaglio.recipes.callbacks.checkpoint_files import CheckedIO, made_before, newest, run_folder
from intaglio.recipes.callbacks.config import RecipeInCheckpoint
from intaglio.recipes.callbacks.early_logs import EarlyLogs
from intaglio.recipes.callbacks.progress import StepProgress
from intaglio.recipes.callbacks.run_folder import RunTrainer
from intaglio.recipes.callbacks.run_summary import RunSummary
from intaglio.recipes.commands.options.trust import add_trust_option, importable, trusted
from intaglio.recipes.errors import USER_ERRORS, explain, say
from intaglio.recipes.training.failures import blamed, end_children, how_to_resume, lost_process
from intaglio.recipes.training.messages import quieten
from intaglio.recipes.training.refusals import in_words

MAX_RECIPE = 1 << 20  # bytes; a checkpoint, which may be of gigabytes, is not looked through


def build(args: list[str] | None = None, run: bool = True) -> LightningCLI:
    """Build what a recipe names, and run the command if there is one.

    A recipe is the user's program: what it names is imported, also from the current folder.

    Args:
        args: words of the command line; those of the process if None.
        run: the first word is a command to run; otherwise there is none and nothing runs.

    Raises:
        ValueError: the words or the recipe do not fit, or a part of it refuses its arguments.
    """
    quieten()
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
                trainer_defaults={"enable_model_summary": False},  # `RunSummary` has the sizes
                parser_kwargs={"parser_mode": "omegaconf+"},
                subclass_mode_model=True,
                subclass_mode_data=True,
                auto_configure_optimizers=False,
                args=args,
                run=run,
            )
    except ArgumentError as error:
        raise ValueError(in_words(explain(ValueError(str(error))))) from error
    except MisconfigurationException as error:
        raise ValueError(str(error)) from error


def modules_named_in(words: Sequence[str]) -> list[str]:
    """What dotted names, as class paths are, begin with: in words of the command line that give a
    value, and in the recipes among them.
    """
    values = [word.partition("=")[2] if word.startswith("-") else word for word in words]
    texts = [
        Path(value).read_text("utf-8", "replace") if _may_be_a_recipe(value) else value
        for value in values
    ]
    return re.findall(r"(?<![\w./-])([A-Za-z_]\w*)\.[A-Za-z_]", "\n".join(texts))


def _may_be_a_recipe(value: str) -> bool:
    """Whether a value is the path of a file that is no larger than a recipe."""
    # of `os`, which takes what no path can be, such as a long list, for the name of no file
    return os.path.isfile(value) and os.path.getsize(value) <= MAX_RECIPE


class TrainingCLI(LightningCLI):
    """Lightning's command line, with another meaning of ``--ckpt_path``.

    ``last`` is the newest undamaged checkpoint of any start of the run. If there is none, ``fit``
    starts from the beginning, so that the same command can be given again whenever it was
    interrupted. A checkpoint gives weights and states; what is built is what the recipe names.
    """

    found: Path | None = None  # the checkpoint of ``last``

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """A parser that raises ``ArgumentError`` where others print pages of usage and exit."""
        return super().init_parser(exit_on_error=False, **kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The options that `build` has read from the words."""
        add_trust_option(parser)

    def _parse_ckpt_path(self) -> None:
        """Leave the recipe as it is: Lightning would let the checkpoint choose class and values."""

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer, with the callbacks that report on every run."""
        config = self._get(self.config_init, "trainer", default={})
        given = config.get("callbacks") or []
        given = given if isinstance(given, list) else [given]
        shown = config.get("enable_progress_bar") is not False
        shown = shown and not any(isinstance(one, ProgressBar) for one in given)
        reports: list[Callback] = [RunSummary(), EarlyLogs()] if self.subcommand == "fit" else []
        reports += [StepProgress()] if shown else []
        return super().instantiate_trainer(callbacks=[*given, *reports], **kwargs)

    def fit(self, model: LightningModule, **kwargs: Any) -> None:
        """Train, unless all steps are made; if that fails, say how to go on.

        Raises:
            ValueError: the data or a value failed, or another process of the training has gone.
        """
        if self.found and (end := made_before(self.found, self.trainer)):
            say(f"nothing to do: {self.found} has come to {end}; with a larger number it goes on")
            return
        try:
            with blamed(self.trainer, kwargs.get("ckpt_path")):
                self.trainer.fit(model, **kwargs)
        except USER_ERRORS as error:
            advice = how_to_resume(self.trainer)
            if not advice:
                raise
            raise ValueError(f"{explain(error)}; {advice}") from error
        except RuntimeError as error:
            reason = lost_process(error, self.trainer)
            if not reason:
                raise
            end_children(self.trainer)
            advice = how_to_resume(self.trainer) or "start the training again"
            raise ValueError(f"{reason}; {advice}") from error

    def before_fit(self) -> None:
        """Resume the run if it has a checkpoint."""
        self._choose_checkpoint("fit", required=False)

    def before_validate(self) -> None:
        """Find the checkpoint of ``last``."""
        self._choose_checkpoint("validate", required=True)

    def before_test(self) -> None:
        """Find the checkpoint of ``last``."""
        self._choose_checkpoint("test", required=True)

    def before_predict(self) -> None:
        """Find the checkpoint of ``last``."""
        self._choose_checkpoint("predict", required=True)

    def _choose_checkpoint(self, command: str, *, required: bool) -> None:
        """Replace the word ``last`` by the path of the checkpoint, which is read as data only.

        Raises:
            FileNotFoundError: there is none although it is required.
        """
        folder = run_folder(self.trainer)
        if command != "fit" and isinstance(self.trainer, RunTrainer):
            self.trainer.leave_no_logs()
        arguments = self.config_init[command]
        arguments["weights_only"] = True
        if type(self.trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            self.trainer.strategy.checkpoint_io = CheckedIO()
        if arguments.get("ckpt_path") != "last":
            return
        self.found = path = newest(folder)
        if path is None and required:
            raise FileNotFoundError(f"there is no undamaged checkpoint in {folder}: train first")
        arguments["ckpt_path"] = None if path is None else str(path)
