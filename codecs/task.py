"""CodecTask: the Lightning module that trains any codec, adversarially or not.

One pass of the codec serves both players: the generator steps first, then the discriminators on the
detached output. Only the generator's steps count as steps (``max_steps``, schedules, checkpoints).
"""

import random
from typing import Any, NamedTuple, cast

import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from intaglio.codecs.codec import COMMON_LOSSES, Codec, Reconstruction
from intaglio.codecs.losses.adversary import Adversary
from intaglio.codecs.losses.balancer import Balancer
from intaglio.codecs.losses.base import LatentLoss, ReconstructionLoss
from intaglio.codecs.tokens import Tokens
from intaglio.codecs.training.base import Batch, Terms, TrainingTask
from intaglio.codecs.training.micro_batches import MicroBatch, means_over, split
from intaglio.codecs.training.stages import Stage, check, enter, stage_at
from intaglio.codecs.training.suspects import Buffers


class GeneratorLoss(NamedTuple):
    """What the generator minimises, and the terms that it is made of, not weighted, by name."""

    total: Tensor
    terms: Terms


class CodecTask(TrainingTask):
    """Train a codec on batches of ``wave``, [batch, channels, samples], with their ``lengths``, or
    of ``image``, [batch, 3, height, width].

    Args:
        codec: what is trained.
        losses: distances between output and input, by name.
        latent_losses: losses of the decoder's input, by name.
        weights: weight of each loss, also of those that the codec's parts bring (``commitment`` …),
            by name; 1 where a name is left out.
        adversaries: discriminators with their losses, by name.
        optimizer: gives the generator's optimizer from its parameters.
        discriminator_optimizer: gives the discriminators'; the same as ``optimizer`` if None.
        warmup_steps: steps of linear growth of the learning rate.
        final_rate: learning rate at the end (``max_steps`` or ``max_time``) as a share of the
            first, after a cosine; 1 keeps it.
        adversarial_from: step at which the discriminators enter.
        discriminator_share: share of the batches in which the discriminators learn (EnCodec 2/3).
        balancer: makes the weights of losses and adversaries shares of the gradient (EnCodec);
            the quantizer's losses are added as they are.
        clip_norm: largest gradient norm of either player; None leaves gradients alone.
        discriminator_clip_norm: that of the discriminators; ``clip_norm`` if None.
        stages: which parts of the codec learn from which step on, and with which weights; all from
            the start on if None.
        accumulate: micro-batches that a batch is split into, processed one after the other, to save
            memory. The gradient is that of the whole batch if losses are means over items; moving
            averages of codebooks are updated once a micro-batch.
        max_skipped: how many steps in a row may be skipped for values that are not finite.

    Raises:
        ValueError: a weight names no loss, a stage no part of the codec, stages are out of order,
            or ``accumulate`` is below 1.
    """

    def __init__(
        self,
        codec: Codec,
        losses: dict[str, ReconstructionLoss],
        weights: dict[str, float] | None = None,
        latent_losses: dict[str, LatentLoss] | None = None,
        adversaries: dict[str, Adversary] | None = None,
        optimizer: OptimizerCallable = lambda p: torch.optim.AdamW(p, lr=2e-4),
        discriminator_optimizer: OptimizerCallable | None = None,
        warmup_steps: int = 0,
        final_rate: float = 0.0,
        adversarial_from: int = 0,
        discriminator_share: float = 1.0,
        balancer: Balancer | None = None,
        clip_norm: float | None = None,
        discriminator_clip_norm: float | None = None,
        accumulate: int = 1,
        max_skipped: int = 20,
        stages: list[Stage] | None = None,
    ) -> None:
        super().__init__(
            warmup_steps=warmup_steps,
            final_rate=final_rate,
            clip_norm=clip_norm,
            max_skipped=max_skipped,
        )
        self.save_hyperparameters()
        self.codec = codec
        self.losses = nn.ModuleDict(losses)
        self.latent_losses = nn.ModuleDict(latent_losses or {})
        self.weights = dict(weights or {})
        self.adversaries = nn.ModuleDict(adversaries or {})
        self.optimizer = optimizer
        self.discriminator_optimizer = discriminator_optimizer or optimizer
        self.adversarial_from = adversarial_from
        self.discriminator_share = discriminator_share
        self.discriminator_clip_norm = discriminator_clip_norm
        self.balancer = balancer
        self.accumulate = accumulate
        self.stages = stages or [Stage()]
        self.frozen = {name for name, p in codec.named_parameters() if not p.requires_grad}
        self.entered: Stage | None = None
        if accumulate < 1:
            raise ValueError(f"a batch cannot be split into {accumulate} micro-batches")
        check(self.stages, codec)
        named = set(self.weights).union(*(stage.weights for stage in self.stages))
        known = {*losses, *self.latent_losses, *codec.losses, *COMMON_LOSSES}
        if unknown := ", ".join(sorted(named - known)):
            raise ValueError(f"weights name no loss: {unknown}; losses are {sorted(known)}")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """One optimizer for the codec and, if there are adversaries, one for them."""
        reading = (p for p in self.latent_losses.parameters() if p.requires_grad)
        optimizers: list[Optimizer] = [self.optimizer([*self.codec.parameters(), *reading])]
        if self.adversaries:
            optimizers.append(self.discriminator_optimizer(self.adversaries.parameters()))
        return optimizers

    def on_fit_start(self) -> None:
        """Begin in no stage."""
        super().on_fit_start()
        self.entered = None

    def training_step(self, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        """One step of the generator, then one of the discriminators; gives the ids to callbacks."""
        self._seed_step()
        parts = split(batch[self.codec.signal], self.accumulate)
        stage = stage_at(self.stages, self.global_step)
        if stage is not self.entered:  # going through a large codec takes a tenth of a second
            enter(stage, self.codec, self.frozen)
            self.entered = stage
        adversarial = bool(self.adversaries) and self.global_step >= self.adversarial_from
        generator = self._set_rates()[0]
        self.toggle_optimizer(generator)
        generator.zero_grad()
        before, theirs = Buffers(self.codec), Buffers(self.adversaries)
        fakes, ids, terms, stats = [], [], [], []
        for part in parts:
            output = self.codec(part.signal)
            weights = self.weights | stage.weights
            loss = self._generator_loss(output, part.signal, weights, adversarial)
            self.manual_backward(part.share * loss.total)
            fakes.append(output.values.detach())
            ids.append(output.quantized.ids.detach())
            terms.append(loss.terms | {"loss": loss.total})
            stats.append(output.quantized.stats)
        means = means_over(terms, parts)
        self._log_terms(means, tuple(self.losses) + ("loss",))
        # all terms: that of a balancer is finite whatever they are
        every = torch.stack([mean.float() for mean in means.values()]).sum()
        stepped = {"generator": self._step(generator, every, "generator")}
        self.untoggle_optimizer(generator)
        if not stepped["generator"]:
            before.restore()
        elif adversarial and self._discriminators_learn():
            stepped["discriminator"] = self._discriminator_step(parts, fakes)
        if not all(stepped.values()):
            theirs.restore()
        self._count(stepped, batch)
        self._log_terms(means_over(stats, parts), ("perplexity",))
        self.batches += 1
        return {"ids": torch.cat(ids)}

    def validation_step(
        self, batch: Batch, batch_index: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """Losses of whole clips that went through tokens and back."""
        return self._evaluate(batch, "val")

    def test_step(
        self, batch: Batch, batch_index: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """As `validation_step`, logged under ``test``."""
        return self._evaluate(batch, "test")

    def predict_step(self, batch: Batch, batch_index: int, dataloader_idx: int = 0) -> Any:
        """Tokens of a batch."""
        return self._tokens(batch)

    def _generator_loss(
        self, output: Reconstruction, real: Tensor, given: dict[str, float], adversarial: bool
    ) -> GeneratorLoss:
        weights = {name: given.get(name, 1.0) for name in self.losses}
        with torch.autocast(real.device.type, enabled=False):
            fake = output.values.float()
            terms = {
                name: loss(fake, real.float())
                for name, loss in self.losses.items()
                if weights[name] != 0
            }
        plain = _weighted(terms, weights, output.values)
        for name, module in self.adversaries.items() if adversarial else ():
            adversary = cast(Adversary, module)
            factors = {"adversarial": adversary.weight, "matching": adversary.matching_weight}
            for kind, term in adversary.generator_losses(real, output.values).items():
                terms[f"{name}/{kind}"], weights[f"{name}/{kind}"] = term, factors[kind]
            if adversary.adaptive:
                key = f"{name}/adversarial"
                weights[key] *= self._gradient_ratio(plain, terms[key])
        if self.balancer is None:
            total = _weighted(terms, weights, output.values)
        else:
            total = self.balancer(terms, weights, output.values)
        own = output.quantized.losses | {
            name: loss(output.quantized.of_levels(cast(LatentLoss, loss).semantic), real)
            for name, loss in self.latent_losses.items()
            if given.get(name, 1.0) != 0
        }
        for name, term in own.items():
            total = total + given.get(name, 1.0) * term
        return GeneratorLoss(total, terms | own)

    def _gradient_ratio(self, plain: Tensor, adversarial: Tensor) -> float:
        """Gradient of the other losses at the decoder's last layer over the adversarial one's."""
        weight = self.codec.decoder.last_weight
        if weight is None or not weight.requires_grad or not plain.requires_grad:
            return 1.0
        sizes = [
            torch.autograd.grad(term, weight, retain_graph=True)[0].norm()
            for term in (plain, adversarial)
        ]
        ratio = float((sizes[0] / (sizes[1] + 1e-4)).clamp(0, 1e4))
        self.log("train/adaptive_weight", ratio)
        return ratio

    def _discriminators_learn(self) -> bool:
        """Whether the discriminators learn from this batch; the same in all processes."""
        draw = random.Random(f"{self.seed} {self.batches}").random()
        return draw < self.discriminator_share

    def _discriminator_step(self, parts: list[MicroBatch], fakes: list[Tensor]) -> bool:
        # the bare optimizer: a wrapped one would count its steps as steps of the training
        optimizer = self._optimizers()[1].optimizer
        self.toggle_optimizer(optimizer)
        optimizer.zero_grad()
        losses = []
        for part, fake in zip(parts, fakes, strict=True):
            terms = {
                f"{name}/discriminator": cast(Adversary, module).discriminator_loss(
                    part.signal, fake
                )
                for name, module in self.adversaries.items()
            }
            total = torch.stack(list(terms.values())).sum()
            self.manual_backward(part.share * total)
            losses.append(terms | {"total": total})
        means = means_over(losses, parts)
        total = means.pop("total")
        self._log_terms(means, ())
        stepped = self._step(optimizer, total, "discriminator")
        self.untoggle_optimizer(optimizer)
        return stepped

    def _largest_norm(self, name: str) -> float | None:
        own = self.discriminator_clip_norm if name == "discriminator" else None
        return self.clip_norm if own is None else own

    def _evaluate(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        signal = batch[self.codec.signal]
        if self.codec.vocab:
            tokens = self._tokens(batch)
            decoded, ids = self.codec.decode(tokens), tokens.ids[tokens.mask]
        else:  # a continuous bottleneck
            output = self.codec(signal)
            decoded, ids = output.values.clamp(-1, 1), output.quantized.ids.flatten(0, 1)
        size = len(signal)
        for name, loss in self.losses.items():
            value = loss(decoded, signal[..., : decoded.shape[-1]])
            self.log(f"{stage}/{name}", value, batch_size=size, prog_bar=True, sync_dist=True)
        return {"ids": ids, "decoded": decoded}

    def _tokens(self, batch: Batch) -> Tokens:
        """Tokens of a batch, whatever the trainer's precision."""
        with torch.autocast(batch[self.codec.signal].device.type, enabled=False):
            return self.codec.encode_batch(batch)


def _weighted(terms: Terms, weights: dict[str, float], like: Tensor) -> Tensor:
    """Weighted sum; zero, of the kind of ``like``, if there are no terms."""
    total = like.new_zeros(())
    for name, term in terms.items():
        total = total + weights[name] * term
    return total
