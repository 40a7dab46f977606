"""What ended a training before its time, in a sentence, and how to go on."""

import re
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Trainer
from torch import distributed

from intaglio.recipes.callbacks.checkpoint import LastCheckpoint
from intaglio.recipes.callbacks.run_summary import RunSummary
from intaglio.recipes.errors import USER_ERRORS, explain, is_out_of_memory

_OF_BACKENDS = re.compile(r"gloo|NCCL|TCPStore|Connection (closed|reset)|Broken pipe")
_TIMEOUT = re.compile(r"[Tt]imed? ?out")


def how_to_resume(trainer: Trainer) -> str:
    """Which checkpoint there is, and how a training goes on from it; "" if it has not begun."""
    if not trainer.fit_loop.epoch_loop.batch_progress.total.ready:
        return ""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, LastCheckpoint) and callback.path.is_file():
            step = f" of step {callback.saved_step}" if callback.saved_step else ""
            return (
                f"the last checkpoint{step} is {callback.path}: give the same command with "
                "--ckpt_path last to go on from there"
            )
    return "no checkpoint has been saved yet"


def lost_process(error: RuntimeError, trainer: Trainer) -> str:
    """A sentence on another process that has gone, if that is what the error is about, or ""."""
    text = str(error)
    if trainer.world_size == 1:
        return ""
    if not isinstance(error, distributed.DistError) and not _OF_BACKENDS.search(text):
        return ""
    strategy: Any = trainer.strategy
    limit = getattr(strategy, "_timeout", None)
    what = f"has not answered for {limit}" if _TIMEOUT.search(text) else "has ended or was killed"
    return (
        f"one of the {trainer.world_size} processes of the training {what}, and rank "
        f"{trainer.global_rank} cannot go on without it"
    )


@contextmanager
def blamed(trainer: Trainer, checkpoint: str | None) -> Iterator[None]:
    """Of an error before the first step after a checkpoint, whatever it is, make one that names it.

    Raises:
        ValueError: the states of the checkpoint do not fit.
    """
    try:
        yield
    except Exception as error:
        begun = any(c.begun for c in trainer.callbacks if isinstance(c, RunSummary))  # type: ignore[attr-defined]
        known = isinstance(error, RuntimeError) and lost_process(error, trainer)
        if not checkpoint or begun or known or _is_ours(error) or is_out_of_memory(error):
            raise
        raise ValueError(
            f"cannot go on from the checkpoint {checkpoint}: {explain(error)}; its states are "
            "damaged or of another training: give another one, or start without --ckpt_path"
        ) from error


def _is_ours(error: Exception) -> bool:
    """Whether this package raised it to tell the user."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    raised_by = str(frames[-1].f_globals.get("__name__"))
    return isinstance(error, USER_ERRORS) and raised_by.startswith("intaglio.")


def end_children(trainer: Trainer) -> None:
    """End the processes that Lightning started for this training, also those that are stopped."""
    launcher: Any = trainer.strategy.launcher
    if launcher is not None and hasattr(launcher, "procs"):
        launcher.kill(signal.SIGKILL)
