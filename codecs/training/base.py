"""What the training of codecs and of generators have in common.

What a step draws (dropout, depths of a residual quantizer, masks) is a function of the seed, the
process and the number of the batch: a training that is resumed from a checkpoint draws as if it had
never stopped.
"""

import hashlib
import math
import random
from collections.abc import Mapping
from typing import Any

import numpy
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import Timer
from torch import Tensor, nn

from intaglio.codecs.layers.distributed import gathered, summed
from intaglio.codecs.part import as_written
from intaglio.codecs.training.suspects import suspects

Batch = dict[str, Any]
Terms = dict[str, Tensor]
COUNTERS = ("seed", "batches", "skipped")  # of a task, in its checkpoints


class TrainingTask(LightningModule):
    """Base of the tasks: learning rates, exact draws, and steps that are skipped.

    Args:
        warmup_steps: steps of linear growth of the learning rate.
        final_rate: learning rate at the end (``max_steps`` or ``max_time``) as a share of the
            first, after a cosine; 1 keeps it.
        clip_norm: largest gradient norm; None leaves gradients alone.
        max_skipped: how many steps in a row may be skipped for values that are not finite.
    """

    def __init__(
        self, *, warmup_steps: int, final_rate: float, clip_norm: float | None, max_skipped: int
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.warmup_steps, self.final_rate = warmup_steps, final_rate
        self.clip_norm, self.max_skipped = clip_norm, max_skipped
        self.skipped: dict[str, int] = {}  # steps in a row, by player
        self.blamed = False  # whether the last step failed for the loss of this very process
        self.batches = 0
        self.seed: int | None = None

    def rate(self, step: int) -> float:
        """Learning rate at a step as a share of the configured one."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        return self.final_rate + (1 - self.final_rate) * 0.5 * (1 + math.cos(math.pi * self.done()))

    def done(self) -> float:
        """Share of the training that is over, by ``max_steps`` or ``max_time``."""
        shares = [0.0]
        if self.trainer.max_steps > 0:
            shares.append(self.global_step / self.trainer.max_steps)
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            remaining = callback.time_remaining() if isinstance(callback, Timer) else None
            if remaining is not None:
                elapsed = callback.time_elapsed()
                shares.append(elapsed / max(1e-9, elapsed + remaining))
        return min(1.0, max(shares))

    def on_fit_start(self) -> None:
        """Take the seed of the run, the same in all processes, unless a checkpoint brought it."""
        if self.seed is None:
            self.seed = self.trainer.strategy.broadcast(torch.initial_seed())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what only this task knows of the run."""
        checkpoint["training"] = {key: getattr(self, key) for key in COUNTERS}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it back.

        Raises:
            ValueError: the checkpoint is of another model.
        """
        self._check_model(checkpoint)
        for key, value in checkpoint.get("training", {}).items():
            if key in COUNTERS and isinstance(value, int | dict):
                setattr(self, key, value)
        if isinstance(self.skipped, int):  # of checkpoints before players were counted apart
            self.skipped = {"generator": self.skipped}

    def _check_model(self, checkpoint: dict[str, Any]) -> None:
        """Compare the task, its parts and the shapes of its weights with those of a checkpoint."""
        ours, theirs = map(as_written, (self.hparams, checkpoint.get("hyper_parameters", {})))
        state = self.state_dict()
        differ = [name for name in ("_class_path",) if ours.get(name) != theirs.get(name)]
        for name in sorted({name.partition(".")[0] for name in state} & ours.keys()):
            recipes = ours[name], theirs.get(name)
            if all(isinstance(one, Mapping) for one in recipes) and recipes[0] != recipes[1]:
                differ.append(name)
        shapes, found = _shapes(state), _shapes(checkpoint.get("state_dict", state))
        names = sorted({*shapes, *found})
        differ += [name for name in names if shapes.get(name) != found.get(name)]
        if differ:
            shown = ", ".join(differ[:3]) + (f" and {len(differ) - 3} more" * (len(differ) > 3))
            raise ValueError(
                f"the checkpoint was trained with another model: {shown} differ; give the recipe "
                "and the arguments that it was trained with, such as the config.yaml of its run"
            )

    def _step(self, optimizer: Any, loss: Tensor, name: str) -> bool:
        """Step, unless the loss or a gradient is not finite in any process."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, self._largest_norm(name) or math.inf)
        self.log(f"train/{name}_norm", norm)
        if not bool(summed(norm + loss).isfinite()):
            optimizer.zero_grad()
            self.blamed = not bool(loss.isfinite())
            return False
        optimizer.step()
        return True

    def _largest_norm(self, name: str) -> float | None:
        """Of the gradient of a player."""
        return self.clip_norm

    def _log_terms(self, terms: Terms, shown: tuple[str, ...]) -> None:
        for name, value in terms.items():
            self.log(f"train/{name}", value, prog_bar=name in shown)

    def _seed_step(self) -> None:
        """Make what this batch draws a function of the run, the process and the batch's number."""
        key = f"{self.seed} {self.global_rank} {self.batches}"
        number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1
        torch.manual_seed(number)
        random.seed(number)
        numpy.random.seed(number % 2**32)

    def _count(self, stepped: dict[str, bool], batch: Batch) -> None:
        """Count the steps that were skipped, by player, and name what they were skipped for.

        Raises:
            ValueError: a player has skipped too many in a row.
        """
        for player, done in stepped.items():
            self.skipped[player] = 0 if done else self.skipped.get(player, 0) + 1
        self.log("train/skipped", float(max(self.skipped.values())))
        for player in (player for player, done in stepped.items() if not done):
            told = gathered((self.blamed, suspects(batch, self.batches)))
            blamed = any(blame for blame, _ in told)
            where = "; ".join(
                f"on rank {rank}: {text}" if len(told) > 1 else text
                for rank, (blame, text) in enumerate(told)
                if blame or not blamed
            )
            what = f"{'loss' if blamed else 'gradient'} of the {player} is not finite"
            self.print(f"skipped step {self.global_step}: the {what}, {where}")
            if self.skipped[player] >= self.max_skipped:
                raise ValueError(
                    f"{self.skipped[player]} steps in a row were skipped: the {what}, in the last "
                    f"one {where}; lower the learning rate or set clip_norm"
                )

    def _optimizers(self) -> list[Any]:
        optimizers = self.optimizers()
        return optimizers if isinstance(optimizers, list) else [optimizers]

    def _set_rates(self) -> list[Any]:
        """The optimizers, with this step's learning rates."""
        optimizers = self._optimizers()
        share = self.rate(self.global_step)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * share
        self.log("train/rate", optimizers[0].param_groups[0]["lr"])
        return optimizers


def _shapes(state: dict[str, Any]) -> dict[str, Any]:
    """Shape of each tensor; not of what a module adds, whose size depends on its content."""
    return {
        name: tensor.shape
        for name, tensor in state.items()
        if isinstance(tensor, Tensor) and not name.endswith("_extra_state")
    }
