"""Embeddings of tokens for a transformer."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from intaglio.codecs.part import Part
from intaglio.codecs.quantizers.base import Quantizer


class Embedding(Part):
    """Base: tokens [batch, positions, width] → [batch, positions, dim].

    Attributes:
        vocab: codebook size of each group; empty for vectors.
        width: number of groups or channels of a token.
        needs_codec: whether it has to load the weights of the codec's quantizer before training.
    """

    vocab: tuple[int, ...] = ()
    width: int
    needs_codec = False

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed tokens."""
        raise NotImplementedError

    def load_codec_weights(self, quantizer: Quantizer) -> None:
        """Load what is needed of the trained quantizer that made the tokens; by default nothing.

        Raises:
            ValueError: the quantizer is not of the kind that this embedding was made for.
        """


class IdEmbedding(Embedding):
    """An embedding table for each group; the rows of a token are added.

    Args:
        vocab: sizes of the codebooks.
        dim: size of a vector.
    """

    def __init__(self, vocab: Sequence[int], dim: int) -> None:
        super().__init__()
        self.vocab = tuple(vocab)
        self.width = len(self.vocab)
        tables = [nn.Embedding(size, dim) for size in self.vocab]
        for table in tables:
            nn.init.normal_(table.weight, std=0.02)
        self.tables = nn.ModuleList(tables)

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 ids."""
        rows = [table(tokens[..., group]) for group, table in enumerate(self.tables)]
        return torch.stack(rows).sum(0) if len(rows) > 1 else rows[0]


class LinearEmbedding(Embedding):
    """A linear map of continuous tokens.

    Args:
        width: number of channels of a token.
        dim: size of a vector.
    """

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.width = width
        self.linear = nn.Linear(width, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """float vectors."""
        return self.linear(tokens)
