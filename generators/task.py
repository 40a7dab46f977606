"""GeneratorTask: the Lightning module that trains any generator on the tokens of a codec."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Protocol, runtime_checkable

import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from intaglio.codecs import Codec, load
from intaglio.codecs.layers.distributed import summed
from intaglio.codecs.training.base import Batch, TrainingTask
from intaglio.generators.generator import Generator
from intaglio.generators.provenance import Provenance


class TokenMetadata(Protocol):
    """Where tokens come from: see `intaglio.data.tokens.TokenSource`."""

    codec: str
    fingerprint: str
    vocab: tuple[int, ...]
    shape: tuple[int, ...]
    any_length: bool


@runtime_checkable
class TokenData(Protocol):
    """What the task asks of its data; `intaglio.data.tokens.TokenShards` has it."""

    classes: Sequence[str]
    source: TokenMetadata | None

    def training_tokens(self) -> Tensor:
        """All ids for training, int64 [..., groups]."""
        ...


@runtime_checkable
class ConditionedData(Protocol):
    """Data that know their conditions; the task refuses those that lack what it learns."""

    def conditions(self) -> tuple[tuple[int, ...], int]:
        """Items for training of each class, and items for training with a text."""
        ...


class GeneratorTask(TrainingTask):
    """Train a generator on batches of ``tokens``, [batch, positions, width], of items of any length
    with a ``mask``, [batch, positions], and what its condition reads of a batch (``label``,
    ``caption``).

    The loss is the mean over all tokens that a step learns, in all parts and all processes, whoever
    of them has how many. Weights of one dimension (scales of normalisations, biases) do not
    decay.

    Args:
        generator: what is trained.
        codec: bundle or checkpoint of the codec that made the tokens; for a generator of continuous
            tokens, which learns the codec's vectors of the ids, standardised over the training
            data, and for one that holds the codec's quantizer.
        optimizer: gives the optimizer from the parameters.
        warmup_steps: steps of linear growth of the learning rate.
        final_rate: learning rate at the end (``max_steps`` or ``max_time``) as a share of the
            first, after a cosine; 1 keeps it.
        clip_norm: largest gradient norm; None leaves gradients alone.
        accumulate: parts that a batch is processed in, one after the other, to save memory.
        max_skipped: how many steps in a row may be skipped for values that are not finite.

    Raises:
        ValueError: ``accumulate`` is below 1.
    """

    def __init__(
        self,
        generator: Generator,
        codec: str | None = None,
        optimizer: OptimizerCallable = lambda p: torch.optim.AdamW(p, lr=1e-4, betas=(0.9, 0.95)),
        warmup_steps: int = 0,
        final_rate: float = 0.0,
        clip_norm: float | None = 1.0,
        accumulate: int = 1,
        max_skipped: int = 20,
    ) -> None:
        super().__init__(
            warmup_steps=warmup_steps,
            final_rate=final_rate,
            clip_norm=clip_norm,
            max_skipped=max_skipped,
        )
        self.save_hyperparameters()
        if accumulate < 1:
            raise ValueError(f"a batch cannot be processed in {accumulate} parts")
        self.generator, self.optimizer, self.accumulate = generator, optimizer, accumulate
        self.codec = codec
        self._decode_ids: Callable[[Tensor], Tensor] | None = None

    def setup(self, stage: str) -> None:
        """Compare the generator with the data, and take their provenance and statistics.

        Raises:
            ValueError: the tokens have another shape, vocabulary or codec, more classes or no
                condition at all, or need a codec that is not given.
        """
        # Lightning has asked the data first
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, TokenData):
            raise ValueError("a generator learns from shards of tokens: intaglio.data.tokens")
        generator, source = self.generator, data.source
        assert source is not None
        known = data.conditions() if isinstance(data, ConditionedData) else (None, None)
        provenance = Provenance(source.codec, source.fingerprint, tuple(data.classes), *known)
        generator.condition.check(provenance)
        if generator.provenance is not None:
            generator.provenance.check(provenance)
        generator.provenance = provenance
        if self.codec is not None:
            self._take(load(self.codec), provenance)
        elif not generator.vocab or (stage == "fit" and generator.backbone.embedding.needs_codec):
            raise ValueError(f"{generator.name} needs the codec of the tokens: give model.codec")
        self._check_source(source)
        if stage == "fit" and not generator.vocab:
            generator.fit_normalisation(self.vectors(data.training_tokens()))

    def _check_source(self, source: TokenMetadata) -> None:
        """Compare shape and vocabulary of the data with the generator's."""
        generator = self.generator
        shape = tuple(source.shape) if len(generator.shape) > 1 else (prod(source.shape),)
        made = (shape, tuple(source.vocab))
        wanted = (generator.shape, generator.vocab or made[1])
        if generator.end is not None and shape[0] <= generator.positions:
            wanted = (shape, wanted[1])  # items may be shorter
        elif source.any_length and generator.end is None:
            raise ValueError(
                f"items of {source.codec} have any length up to {shape[0]}, those of "
                f"{generator.name} one length; build it with end_of_sequence"
            )
        if made != wanted:
            raise ValueError(
                f"{source.codec} gives tokens of shape {made[0]} and vocabulary {made[1]}, "
                f"{generator.name} draws {wanted[0]} and {wanted[1]}; set them in the recipe"
            )

    def vectors(self, ids: Tensor) -> Tensor:
        """Tokens of ids: the ids themselves, or the codec's vectors of them."""
        return ids if self._decode_ids is None else self._decode_ids(ids)

    def _take(self, codec: Codec, provenance: Provenance) -> None:
        """What the generator needs of the codec."""
        provenance.check(Provenance(codec.name, codec.fingerprint))
        self.generator.backbone.embedding.load_codec_weights(codec.quantizer)
        if self.generator.vocab:
            return
        if codec.quantizer.dim != self.generator.width:
            raise ValueError(
                f"{codec.name} has vectors of {codec.quantizer.dim} channels, "
                f"{self.generator.name} draws {self.generator.width}; set them in the recipe"
            )
        self._decode_ids = codec.quantizer.decode_ids

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on only with tokens of the same codec."""
        super().on_load_checkpoint(checkpoint)
        ours = self.generator.provenance
        self.generator.set_extra_state(checkpoint["state_dict"]["generator._extra_state"])
        if ours is not None and self.generator.provenance is not None:
            self.generator.provenance.check(ours)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """One optimizer, with weights that decay and such that do not."""
        learned = [p for p in self.generator.parameters() if p.requires_grad]
        matrices, others = ([p for p in learned if (p.dim() > 1) is many] for many in (True, False))
        return self.optimizer([{"params": matrices}, {"params": others, "weight_decay": 0.0}])

    def training_step(self, batch: Batch, batch_index: int) -> None:
        """One step on the mean loss of all its tokens."""
        self._seed_step()
        self.generator.order.begin(self.done())
        optimizer = self._set_rates()[0]
        optimizer.zero_grad()
        tokens, condition, mask = self._inputs(batch)
        usual = self.generator.positions * len(condition)  # near the count, known beforehand
        total, count = tokens.new_zeros(2, dtype=torch.float32)
        inputs = (tokens, condition) if mask is None else (tokens, condition, mask)
        for part in zip(*(x.chunk(self.accumulate) for x in inputs), strict=True):
            loss = self.generator.loss(*part)
            self.manual_backward(loss.sum() / usual)
            total, count = total + loss.detach().sum(), count + len(loss)
        whole = summed(count) / self.trainer.world_size
        for parameter in self.generator.parameters():
            if parameter.grad is not None:
                parameter.grad *= usual / whole
        mean = total / count
        self.log("train/loss", mean, prog_bar=True)
        self._count({"generator": self._step(optimizer, mean, "generator")}, batch)
        self.batches += 1

    def validation_step(self, batch: Batch, batch_index: int, dataloader_idx: int = 0) -> None:
        """Loss of whole items; what is masked or noised is the same in every validation."""
        self._evaluate(batch, batch_index, "val")

    def test_step(self, batch: Batch, batch_index: int, dataloader_idx: int = 0) -> None:
        """As `validation_step`, logged under ``test``."""
        self._evaluate(batch, batch_index, "test")

    def predict_step(self, batch: Batch, batch_index: int, dataloader_idx: int = 0) -> None:
        """Refused: Lightning's ``predict`` is for codecs.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"{self.generator.name} predicts no files: draw with `intaglio sample`")

    def _evaluate(self, batch: Batch, batch_index: int, stage: str) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(batch_index)
            loss = self.generator.loss(*self._inputs(batch))
        self.log(f"{stage}/loss", loss.mean(), batch_size=len(loss), prog_bar=True, sync_dist=True)

    def _inputs(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """Tokens, conditions and masks of a batch."""
        tokens = self.vectors(batch["tokens"])
        condition = self.generator.condition.of_batch(batch).to(tokens.device)
        return tokens, condition, batch.get("mask")
