"""Checkpoint files: complete or absent, checked when read, found in any start of a run.

A file appears under its name when all of it is on the disk, and `last.ckpt` becomes `previous.ckpt`
before the next one takes its place. The format is torch's own, a zip archive, whose checksums are
verified before anything is read: `intaglio.codecs.load` reads these files too.
"""

import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from intaglio.data.formats.atomic import replacing

FOLDER, LAST, PREVIOUS = "checkpoints", "last.ckpt", "previous.ckpt"


class CheckedIO(TorchCheckpointIO):
    """Writes complete checkpoints or none, and refuses to read damaged ones and code."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a file; the one before ``last.ckpt`` is kept as ``previous.ckpt``.

        Raises:
            OSError: it cannot be written; what was there before is still there.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        previous = path.with_name(PREVIOUS)
        if path.name == LAST and path.is_symlink():  # would be written through
            os.replace(path, previous)
        with replacing(path) as part:
            with part.open("wb") as file:
                try:
                    torch.save(checkpoint, file)
                except RuntimeError as error:  # how torch reports that the file cannot be written
                    raise (error.__context__ or error) from None
                file.flush()
                os.fsync(file.fileno())  # before the old file loses its name
            if path.name == LAST and path.exists():
                os.replace(path, previous)
        _flush_folder(path.parent)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a file: tensors and plain data, whatever ``weights_only`` says.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is damaged, or holds something else.
        """
        check(Path(path))
        try:
            content = super().load_checkpoint(path, map_location, weights_only=True)
        except OSError:
            raise
        except Exception as error:  # in fields without checksums
            reason = f"is damaged: {error!r}"[:300]
            if type(error).__name__ == "UnpicklingError":
                reason = (
                    "is damaged or foreign: it holds more than tensors and plain data, which is "
                    "not read, because it could run code"
                )
            raise ValueError(f"the checkpoint {path} {reason}") from error
        if not _is_of_a_training(content):
            raise ValueError(f"the checkpoint {path} is damaged or foreign: it is of no training")
        return content


def check(path: Path) -> None:
    """Verify the checksums of a checkpoint.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged or not a checkpoint.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f"the checkpoint {path} is a folder, a device or a pipe, not a file")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no checkpoint at {path}") from error
    except PermissionError:
        raise
    except Exception as error:  # zipfile raises a dozen kinds
        raise ValueError(f"the checkpoint {path} is damaged: {error!r}") from error
    if damaged is not None:
        raise ValueError(f"the checkpoint {path} is damaged in {damaged}")


def _is_of_a_training(content: Any) -> bool:
    """Whether it has the outline of what Lightning saves; what is left out is another's default."""
    kinds: dict[str, type | tuple[type, ...]] = {
        "state_dict": dict,
        "hyper_parameters": dict,
        "callbacks": dict,
        "loops": dict,
        "training": dict,
        "optimizer_states": list,
        "lr_schedulers": list,
        "epoch": int,
        "global_step": int,
        "pytorch-lightning_version": str,
    }
    if not isinstance(content, dict) or "state_dict" not in content:
        return False
    fits = all(isinstance(content[key], kind) for key, kind in kinds.items() if key in content)
    fits = fits and all(map(_is_of_a_scheduler, content.get("lr_schedulers", [])))
    return fits and all(isinstance(value, Tensor) for value in content["state_dict"].values())


def _is_of_a_scheduler(state: Any) -> bool:
    """Whether it counts steps: torch's schedulers take whatever they are given for their state."""
    return isinstance(state, dict) and all(
        type(count) is int and count >= 0
        for count in (state.get("last_epoch"), state.get("_step_count", 0))
    )


def newest(folder: Path) -> Path | None:
    """The newest undamaged checkpoint of all starts of a run, or None.

    Damaged ones are skipped with a warning.

    Args:
        folder: of the run; ``checkpoints`` lies in it or in its sub-folders.
    """
    found = [
        path
        for name in (LAST, PREVIOUS)
        for path in (*folder.glob(f"{FOLDER}/{name}"), *folder.glob(f"*/{FOLDER}/{name}"))
    ]
    for path in sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            CheckedIO().load_checkpoint(path, weights_only=True)
        except (ValueError, OSError) as error:
            rank_zero_warn(f"{error}; trying the one before it")
            continue
        return path
    return None


def made_before(path: Path, trainer: Trainer) -> str:
    """The option whose number a checkpoint has reached, if nothing of its training is left to do.

    The file need not be whole: who resumes from it says what is wrong.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        loop = content["loops"]["fit_loop"]
        validation = loop["epoch_loop.val_loop.batch_progress"]["total"]
        if validation["ready"] > validation["completed"]:
            return ""
        if 0 < trainer.max_steps <= content["global_step"]:
            return f"--trainer.max_steps {trainer.max_steps}"
        if 0 < (trainer.max_epochs or 0) <= loop["epoch_progress"]["current"]["processed"]:
            return f"--trainer.max_epochs {trainer.max_epochs}"
    except Exception:
        return ""
    return ""


def run_folder(trainer: Trainer) -> Path:
    """Folder of a run, the same for all its starts: each start logs to a sub-folder of its own."""
    for logger in trainer.loggers[:1]:
        if isinstance(logger, CSVLogger | TensorBoardLogger):
            return Path(logger.root_dir)
        if logger.save_dir is not None:
            return Path(logger.save_dir)
    return Path(trainer.default_root_dir)


def _flush_folder(folder: Path) -> None:
    """Have the new names on the disk, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
