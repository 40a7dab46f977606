"""RecognitionTask: the Lightning module that trains a codec by what its tokens let one recognise.

There is no decoded signal, so that none of `CodecTask`'s losses and adversaries has anything to
compare: the losses are those of the recogniser behind the quantizer, and the quantizer's own.
"""

from typing import Any, cast

import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.codec import COMMON_LOSSES
from intaglio.codecs.decoders.recogniser import RecogniserDecoder
from intaglio.codecs.decoders.spelling import edit_distance, normalised
from intaglio.codecs.quantizers.base import Quantized
from intaglio.codecs.tokens import Tokens
from intaglio.codecs.training.base import Batch, TrainingTask
from intaglio.codecs.training.suspects import Buffers


class RecognitionTask(TrainingTask):
    """Train a codec on batches of ``wave``, [batch, 1, samples], with ``lengths`` and the list
    ``text``; validate by the character error rate of what is recognised from tokens.

    Args:
        codec: what is trained; its decoder is a `RecogniserDecoder`.
        weights: weight of each loss of decoder and quantizer, by name; 1 where a name is left out.
        optimizer: gives the optimizer from the parameters.
        warmup_steps: steps of linear growth of the learning rate.
        final_rate: learning rate at the end (``max_steps`` or ``max_time``) as a share of the
            first, after a cosine; 1 keeps it.
        clip_norm: largest gradient norm; None leaves gradients alone.
        max_skipped: how many steps in a row may be skipped for values that are not finite.

    Raises:
        ValueError: another decoder, or a weight names no loss.
    """

    def __init__(
        self,
        codec: AudioCodec,
        weights: dict[str, float] | None = None,
        optimizer: OptimizerCallable = lambda p: torch.optim.AdamW(p, lr=1e-3),
        warmup_steps: int = 0,
        final_rate: float = 0.0,
        clip_norm: float | None = None,
        max_skipped: int = 20,
    ) -> None:
        super().__init__(
            warmup_steps=warmup_steps,
            final_rate=final_rate,
            clip_norm=clip_norm,
            max_skipped=max_skipped,
        )
        self.save_hyperparameters()
        if not isinstance(codec.decoder, RecogniserDecoder):
            raise ValueError(
                f"a recogniser is trained by its decoder, a RecogniserDecoder; {codec.name} has a "
                f"{type(codec.decoder).__name__}"
            )
        self.codec = codec
        self.weights = dict(weights or {})
        self.optimizer = optimizer
        known = codec.losses | COMMON_LOSSES
        if unknown := ", ".join(sorted(set(self.weights) - known)):
            raise ValueError(f"weights name no loss: {unknown}; losses are {sorted(known)}")

    @property
    def recogniser(self) -> RecogniserDecoder:
        """What turns quantized latents into text."""
        return cast(RecogniserDecoder, self.codec.decoder)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """One optimizer."""
        return self.optimizer(self.codec.parameters())

    def training_step(self, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        """One step; gives the ids to callbacks."""
        self._seed_step()
        optimizer = self._set_rates()[0]
        optimizer.zero_grad()
        before = Buffers(self.codec)
        quantized, mask = self._quantized(batch)
        terms = self.recogniser.recognition_losses(quantized.values, mask, _texts(batch))
        terms |= quantized.losses
        total = torch.stack([self.weights.get(name, 1.0) * term for name, term in terms.items()])
        loss = total.sum()
        self.manual_backward(loss)
        self._log_terms(terms | {"loss": loss}, ("loss",))
        stepped = self._step(optimizer, loss, "recogniser")
        if not stepped:
            before.restore()
        self._count({"recogniser": stepped}, batch)
        self._log_terms(quantized.stats, ("perplexity",))
        self.batches += 1
        return {"ids": quantized.ids[mask].detach()}

    def validation_step(
        self, batch: Batch, batch_index: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """Error rate of letters that are recognised from tokens, without a language model."""
        return self._evaluate(batch, "val")

    def test_step(
        self, batch: Batch, batch_index: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """As `validation_step`, logged under ``test``."""
        return self._evaluate(batch, "test")

    def predict_step(self, batch: Batch, batch_index: int, dataloader_idx: int = 0) -> Tokens:
        """Tokens of a batch."""
        with torch.autocast(batch["wave"].device.type, enabled=False):
            return self.codec.encode_batch(batch)

    def transcripts(self, batch: Batch) -> tuple[list[str], Tensor]:
        """Texts of a batch, recognised from its tokens, and their ids [positions, groups]."""
        with self.codec.inference():
            quantized, mask = self._quantized(batch)
            values = quantized.values
            if self.codec.vocab:
                values = self.codec.quantizer.decode_ids(quantized.ids)
            return self.recogniser.transcripts(values, mask), quantized.ids[mask]

    def _quantized(self, batch: Batch) -> tuple[Quantized, Tensor]:
        """Quantized latents of a batch, and the mask of their positions."""
        wave, lengths = batch["wave"], batch["lengths"]
        latents = self.codec.encoder(wave, lengths)
        steps = torch.arange(latents.shape[1], device=wave.device)
        mask = steps < self.codec.frames(lengths).unsqueeze(1)
        return self.codec.quantizer(latents, mask), mask

    def _evaluate(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        heard, ids = self.transcripts(batch)
        said = [normalised(text) for text in _texts(batch)]
        letters = sum(map(len, said))
        if letters:
            wrong = sum(map(edit_distance, said, heard))
            self.log(
                f"{stage}/cer", wrong / letters, batch_size=letters, prog_bar=True, sync_dist=True
            )
        return {"ids": ids}


def _texts(batch: dict[str, Any]) -> list[str]:
    if "text" not in batch:
        raise ValueError(
            "the batches have no text to recognise: take the data module "
            "intaglio.data.utterances.Utterances, and recordings with their text in a manifest"
        )
    return list(batch["text"])
