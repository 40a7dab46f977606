"""CodecTask: the Lightning module that trains any codec, adversarially or not.

One pass of the codec serves both players: the generator steps first, then the discriminators on the
detached output. Only the generator's steps count as steps (``max_steps``, schedules, checkpoints).
"""

import math
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from intaglio.codecs.codec import Codec, Reconstruction
from intaglio.codecs.losses.adversary import Adversary
from intaglio.codecs.losses.base import ReconstructionLoss

Batch = dict[str, Any]


class CodecTask(LightningModule):
    """Train a codec on batches ``{"wave": [batch, channels, samples], "lengths": int64 [batch],
    …}``.

    Args:
        codec: what is trained.
        losses: distances between output and input, by name.
        weights: weight of each loss and of each of the quantizer's losses (``commitment`` …) by
            name; 1 where a name is left out.
        adversaries: discriminators with their losses, by name.
        optimizer: gives the generator's optimizer from its parameters.
        discriminator_optimizer: gives the discriminators'; the same as ``optimizer`` if None.
        warmup_steps: steps of linear growth of the learning rate.
        final_rate: learning rate at the end (``max_steps`` or ``max_time``) as a share of the
            first, after a cosine; 1 keeps it.
        adversarial_from: step at which the discriminators enter.
        clip_norm: largest gradient norm of either player; None leaves gradients alone.
        max_skipped: how many steps in a row may be skipped for values that are not finite.

    Raises:
        ValueError: a weight names no loss.
    """

    def __init__(
        self,
        codec: Codec,
        losses: dict[str, ReconstructionLoss],
        weights: dict[str, float] | None = None,
        adversaries: dict[str, Adversary] | None = None,
        optimizer: OptimizerCallable = lambda p: torch.optim.AdamW(p, lr=2e-4),
        discriminator_optimizer: OptimizerCallable | None = None,
        warmup_steps: int = 0,
        final_rate: float = 0.0,
        adversarial_from: int = 0,
        clip_norm: float | None = None,
        max_skipped: int = 20,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.codec = codec
        self.losses = nn.ModuleDict(losses)
        self.weights = dict(weights or {})
        self.adversaries = nn.ModuleDict(adversaries or {})
        self.optimizer = optimizer
        self.discriminator_optimizer = discriminator_optimizer or optimizer
        self.warmup_steps = warmup_steps
        self.final_rate = final_rate
        self.adversarial_from = adversarial_from
        self.clip_norm = clip_norm
        self.max_skipped = max_skipped
        self.skipped = 0
        unknown = set(self.weights) - set(losses) - {"commitment", "codebook"}
        if unknown:
            raise ValueError(f"weights name no loss: {', '.join(sorted(unknown))}")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """One optimizer for the codec and, if there are adversaries, one for them."""
        optimizers: list[Optimizer] = [self.optimizer(self.codec.parameters())]
        if self.adversaries:
            optimizers.append(self.discriminator_optimizer(self.adversaries.parameters()))
        return optimizers

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

    def training_step(self, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        """One step of the generator, then one of the discriminators; gives the ids to callbacks."""
        real = batch["wave"]
        adversarial = bool(self.adversaries) and self.global_step >= self.adversarial_from
        generator = self._set_rates()[0]
        self.toggle_optimizer(generator)
        output = self.codec(real)
        loss = self._generator_loss(output, real, adversarial)
        stepped = self._step(generator, loss, self.codec, "generator")
        self.untoggle_optimizer(generator)
        if stepped and adversarial:
            self._discriminator_step(real, output.values.detach())
        self._count(stepped, batch)
        for name, value in output.quantized.stats.items():
            self.log(f"train/{name}", value, prog_bar=name == "perplexity")
        return {"ids": output.quantized.ids.detach()}

    def validation_step(self, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        """Losses of whole clips that went through tokens and back."""
        return self._evaluate(batch, "val")

    def test_step(self, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        """As `validation_step`, logged under ``test``."""
        return self._evaluate(batch, "test")

    def predict_step(self, batch: Batch, batch_index: int) -> Any:
        """Tokens of a batch."""
        return self.codec.encode(batch["wave"], batch.get("lengths"))

    def _generator_loss(self, output: Reconstruction, real: Tensor, adversarial: bool) -> Tensor:
        terms = {name: loss(output.values, real) for name, loss in self.losses.items()}
        terms |= output.quantized.losses
        weighted = [self.weights.get(name, 1.0) * term for name, term in terms.items()]
        if adversarial:
            for name, module in self.adversaries.items():
                adversary = cast(Adversary, module)
                raw = adversary.generator_losses(real, output.values)
                factors = {"adversarial": adversary.weight, "matching": adversary.matching_weight}
                weighted += [factors[kind] * term for kind, term in raw.items()]
                terms |= {f"{name}/{kind}": term for kind, term in raw.items()}
        total = torch.stack(weighted).sum()
        for name, term in terms.items():
            self.log(f"train/{name}", term.detach(), prog_bar=name in self.losses)
        self.log("train/loss", total.detach(), prog_bar=True)
        return total

    def _discriminator_step(self, real: Tensor, fake: Tensor) -> None:
        # the bare optimizer: a wrapped one would count its steps as steps of the training
        optimizer = self._optimizers()[1].optimizer
        self.toggle_optimizer(optimizer)
        terms = {
            name: cast(Adversary, adversary).discriminator_loss(real, fake)
            for name, adversary in self.adversaries.items()
        }
        for name, term in terms.items():
            self.log(f"train/{name}/discriminator", term.detach())
        total = torch.stack(list(terms.values())).sum()
        self._step(optimizer, total, self.adversaries, "discriminator")
        self.untoggle_optimizer(optimizer)

    def _step(self, optimizer: Any, loss: Tensor, player: nn.Module, name: str) -> bool:
        """Back-propagate and step, unless the loss or a gradient is not finite."""
        optimizer.zero_grad()
        self.manual_backward(loss)
        norm = nn.utils.clip_grad_norm_(player.parameters(), self.clip_norm or math.inf)
        self.log(f"train/{name}_norm", norm)
        if not bool((norm + loss.detach()).isfinite()):
            optimizer.zero_grad()
            return False
        optimizer.step()
        return True

    def _count(self, stepped: bool, batch: Batch) -> None:
        self.skipped = 0 if stepped else self.skipped + 1
        self.log("train/skipped", float(self.skipped))
        if stepped:
            return
        paths = ", ".join(str(path) for path in batch.get("path", [])[:4])
        self.print(f"skipped step {self.global_step}: a loss or gradient is not finite {paths}")
        if self.skipped >= self.max_skipped:
            raise ValueError(
                f"{self.skipped} steps in a row gave values that are not finite; lower the "
                "learning rate or set clip_norm, and go on from the last checkpoint"
            )

    def _evaluate(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        tokens = self.codec.encode(batch["wave"], batch.get("lengths"))
        decoded = self.codec.decode(tokens)
        size = len(batch["wave"])
        for name, loss in self.losses.items():
            value = loss(decoded, batch["wave"][..., : decoded.shape[-1]])
            self.log(f"{stage}/{name}", value, batch_size=size, prog_bar=True, sync_dist=True)
        return {"ids": tokens.ids[tokens.mask], "decoded": decoded}

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
