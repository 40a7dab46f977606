"""The second half of a speech recogniser: what S3's tokens are trained with (Du et al., 2024).

More blocks, a head for connectionist temporal classification (CTC; Graves et al., 2006) and a
decoder that attends to them and writes letter by letter (Watanabe et al., 2017). CosyVoice takes
the rest of a large trained recogniser, which is not released; here it is trained with the first.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.decoders.spelling import BLANK, SYMBOLS, collapsed, spelled, symbols
from intaglio.codecs.decoders.tokens_only import TokensOnly
from intaglio.codecs.layers.memory_transformer import MemoryTransformer
from intaglio.codecs.layers.positions import sine_positions

NO_TARGET = -100


class RecogniserDecoder(TokensOnly):
    """Quantized latents to text. There is no waveform: see `TokensOnly`.

    Losses: ``ctc`` and, with a ``text_depth``, ``attention``, each in nats a letter. A text with
    more letters than there are positions for has no CTC loss.

    Args:
        dim: size of a latent vector, and of the tokens of all blocks.
        hop_length: samples of a latent vector.
        depth: number of blocks.
        heads: heads of all attention; divides ``dim``.
        text_depth: blocks of the decoder that writes; 0 for CTC alone.
        rotary: see `MemoryTransformer`.
        memory: see `MemoryTransformer`.
        dropout: share that is dropped in training.
        label_smoothing: of the loss ``attention``.
    """

    losses = ("ctc", "attention")

    def __init__(
        self,
        dim: int = 1280,
        hop_length: int = 640,
        depth: int = 6,
        heads: int = 20,
        *,
        text_depth: int = 6,
        rotary: bool = True,
        memory: int = 31,
        dropout: float = 0.1,
        label_smoothing: float = 0.1,
    ) -> None:
        super().__init__(dim, hop_length)
        self.label_smoothing = label_smoothing
        self.transformer = MemoryTransformer(
            dim, depth, heads, rotary=rotary, memory=memory, dropout=dropout
        )
        self.norm = nn.LayerNorm(dim)
        self.ctc = nn.Linear(dim, SYMBOLS)
        self.embed = self.writer = self.write = None
        if text_depth:
            self.embed = nn.Embedding(SYMBOLS, dim)
            block = nn.TransformerDecoderLayer(
                dim, heads, 4 * dim, dropout, "gelu", batch_first=True, norm_first=True
            )
            self.writer = nn.TransformerDecoder(block, text_depth, nn.LayerNorm(dim))
            self.write = nn.Linear(dim, SYMBOLS)

    def features(self, latents: Tensor, mask: Tensor) -> Tensor:
        """What is heard, [batch, positions, dim], of quantized latents of this shape.

        Args:
            latents: of each item, and of what lies behind its end.
            mask: bool [batch, positions], True where a position belongs to its item.
        """
        return self.norm(self.transformer(latents.to(self.norm.weight), mask.sum(1)))

    def recognition_losses(
        self, latents: Tensor, mask: Tensor, texts: list[str]
    ) -> dict[str, Tensor]:
        """Scalar losses by name, see above; ``latents`` and ``mask`` as of `features`."""
        heard = self.features(latents, mask)
        numbers = [torch.tensor(symbols(text), dtype=torch.int64) for text in texts]
        losses = {"ctc": ctc_loss(self.scores(heard), mask.sum(1), numbers)}
        if self.writer is None or self.embed is None or self.write is None:
            return losses
        longest = max(len(one) for one in numbers) + 1
        said = torch.full((len(numbers), longest), BLANK, device=latents.device)
        wanted = torch.full_like(said, NO_TARGET)
        for row, one in enumerate(numbers):
            said[row, 1 : len(one) + 1] = one
            wanted[row, : len(one)] = one
            wanted[row, len(one)] = BLANK
        x = self.embed(said) + sine_positions(longest, self.dim).to(heard)
        later = torch.ones(longest, longest, dtype=torch.bool, device=x.device).triu(1)
        y = self.write(self.writer(x, heard, tgt_mask=later, memory_key_padding_mask=~mask))
        with torch.autocast(y.device.type, enabled=False):
            losses["attention"] = F.cross_entropy(
                y.float().flatten(0, 1),
                wanted.flatten(),
                ignore_index=NO_TARGET,
                label_smoothing=self.label_smoothing,
            )
        return losses

    def scores(self, heard: Tensor) -> Tensor:
        """Logarithms of the probabilities of the symbols, float32 [batch, positions, symbols]."""
        with torch.autocast(heard.device.type, enabled=False):
            return self.ctc(heard.to(self.ctc.weight)).float().log_softmax(-1)

    def transcripts(self, latents: Tensor, mask: Tensor) -> list[str]:
        """Text of each item by the best path of CTC; arguments as of `features`."""
        paths = self.scores(self.features(latents, mask)).argmax(-1)
        lengths = mask.sum(1).tolist()
        return [
            spelled(collapsed(path[:length]))
            for path, length in zip(paths.tolist(), lengths, strict=True)
        ]


def ctc_loss(scores: Tensor, lengths: Tensor, targets: list[Tensor]) -> Tensor:
    """Minus the logarithm of the probability of all alignments, a letter, mean over the items.

    Args:
        scores: logarithms of probabilities, [batch, positions, symbols].
        lengths: int64 [batch], positions of each item.
        targets: numbers of each item's text. One that does not fit its positions counts as 0.
    """
    padded = nn.utils.rnn.pad_sequence([F.pad(one, (0, 1)) for one in targets], batch_first=True)
    sizes = torch.tensor([len(one) for one in targets], device=scores.device)
    return F.ctc_loss(
        scores.transpose(0, 1),
        padded.to(scores.device),
        lengths,
        sizes,
        blank=BLANK,
        zero_infinity=True,
    )
