"""The training commands: Lightning's command line, in which ``--ckpt_path last`` finds the run."""

from typing import Any

from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from intaglio.recipes.callbacks.checkpoint import newest, run_folder


class Training(LightningCLI):
    """Lightning's command line with one more meaning of a word.

    ``--ckpt_path last`` is the newest undamaged checkpoint of any start of the run. If there is
    none, ``fit`` begins, so that the same command can be given again whenever it was interrupted.
    """

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """A parser that raises ``ArgumentError`` where others print pages of usage and exit."""
        return super().init_parser(exit_on_error=False, **kwargs)

    def before_fit(self) -> None:
        """Go on where the run is, or begin it."""
        self._find("fit")

    def before_validate(self) -> None:
        """As `_find` does."""
        self._find("validate", needed=True)

    def before_test(self) -> None:
        """As `_find` does."""
        self._find("test", needed=True)

    def before_predict(self) -> None:
        """As `_find` does."""
        self._find("predict", needed=True)

    def _find(self, command: str, needed: bool = False) -> None:
        """Put the path of the checkpoint in the place of the word.

        Raises:
            FileNotFoundError: there is none, but it is needed.
        """
        arguments = self.config_init[command]
        if arguments.get("ckpt_path") != "last":
            return
        folder = run_folder(self.trainer)
        path = newest(folder)
        if path is None and needed:
            raise FileNotFoundError(f"there is no undamaged checkpoint in {folder}: train first")
        arguments["ckpt_path"] = None if path is None else str(path)
