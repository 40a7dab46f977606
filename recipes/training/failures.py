"""What ended a training before its time, in a sentence, and how to go on."""

import re
import signal
from typing import Any

from lightning.pytorch import Trainer
from torch import distributed

from intaglio.recipes.callbacks.checkpoint import LastCheckpoint

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


def end_children(trainer: Trainer) -> None:
    """End the processes that Lightning started for this training, also those that are stopped."""
    launcher: Any = trainer.strategy.launcher
    if launcher is not None and hasattr(launcher, "procs"):
        launcher.kill(signal.SIGKILL)
