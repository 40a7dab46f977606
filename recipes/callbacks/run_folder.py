"""Folder of one start of a training: ``version_N``, claimed before anything is written there.

Lightning leaves the choice to the first logger, and some, such as that of Weights & Biases, give
every start the same folder: its checkpoints and recipe would replace those of another run.
"""

from contextlib import suppress
from itertools import count
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn

from intaglio.data.formats.locks import sweep
from intaglio.recipes.callbacks.checkpoint_files import FOLDER, run_folder

LocalLogger = CSVLogger | TensorBoardLogger


class RunTrainer(Trainer):
    """A trainer whose every training has a new folder, whatever its loggers.

    It is ``version_N`` in the folder of the run, and CSV and TensorBoard loggers get the same N,
    or that of the version which the recipe gives its first logger. Validation, tests and
    predictions have none unless one is claimed.

    Attributes:
        claimed: the folder, once there is one.
    """

    claimed: Path | None = None
    _run_folder: Path | None = None

    @property
    def log_dir(self) -> str | None:
        """The new folder, made when it is first asked for, on all processes at once; the folder of
        the run if nothing is trained."""
        if self.state.fn == TrainerFn.FITTING and not self.fast_dev_run:  # type: ignore[attr-defined]
            self.claim()
        return str(self.claimed or self._run_folder or run_folder(self))

    def claim(self) -> None:
        """Make a new folder unless this trainer has one, on all processes at once.

        Raises:
            FileExistsError: the recipe gives its logger the version of another run.
            OSError: it cannot be made.
        """
        if self.claimed is None:
            path = _new_folder(self, self._run_folder) if self.is_global_zero else Path()
            self.claimed = path = self.strategy.broadcast(path)
            for logger in self.loggers:
                if isinstance(logger, LocalLogger) and logger._version is None:
                    logger._version = path.name
            for callback in self.checkpoint_callbacks:
                if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                    callback.dirpath = str(path / FOLDER)

    def leave_no_logs(self) -> None:
        """Take away the loggers that would make a new folder for a command that trains nothing."""
        self._run_folder = run_folder(self)
        self.loggers = [
            one
            for one in self.loggers
            if not isinstance(one, LocalLogger) or one._version is not None
        ]


def _new_folder(trainer: Trainer, folder: Path | None) -> Path:
    local = [one for one in trainer.loggers if isinstance(one, LocalLogger)]
    if local and local[0]._version is not None:
        path = Path(local[0].log_dir)
        resumed = path.resolve() in Path(trainer.ckpt_path or "").resolve().parents
        if path.exists() and trainer.state.fn == TrainerFn.FITTING and not resumed:
            raise FileExistsError(f"{path} is the folder of another run; choose another version")
        path.mkdir(parents=True, exist_ok=True)
        return path
    folder = folder or run_folder(trainer)
    return _new_version(folder, {folder, *(Path(one.root_dir) for one in local)})


def _new_version(folder: Path, roots: set[Path]) -> Path:
    """Make the first number after all that were used in any of ``roots``, and by nobody else.

    What starts that were killed have not finished writing is removed from their folders.
    """
    for checkpoints in (path for root in roots for path in root.glob(f"version_*/{FOLDER}")):
        sweep(checkpoints)
    used = [path.name.removeprefix("version_") for root in roots for path in root.glob("version_*")]
    for number in count(max((int(name) + 1 for name in used if name.isdecimal()), default=0)):
        path = folder / f"version_{number}"
        with suppress(FileExistsError):
            path.mkdir(parents=True)
            return path
    raise AssertionError
