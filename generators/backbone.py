"""What every order reads a sequence with: embedded tokens behind a condition, and a transformer."""

from collections.abc import Sequence
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn

from intaglio.codecs.layers.attention import LayerCache
from intaglio.codecs.layers.positions import rotation
from intaglio.codecs.layers.transformer import Transformer
from intaglio.codecs.part import Part
from intaglio.generators.conditioning.base import Condition
from intaglio.generators.embeddings.base import Embedding

Rotary = Literal["grid", "line"]


class Backbone(Part):
    """Embedding, condition, positions and transformer of a generator.

    Args:
        shape: of the tokens of an item: (rows, columns), or (positions,).
        embedding: of the tokens that are known.
        condition: what an item is conditioned on.
        transformer: over the tokens of the condition and of the item.
        rotary: how queries and keys are rotated by the positions of their tokens: ``grid`` by row
            and column, which leaves the condition alone; ``line`` by the position in the sequence
            from the condition's first token on, as in Llama, whatever the shape; None for none.
        learned_positions: whether embedded tokens get learned vectors of their positions.
        drop_tokens: share of the channels that enter the transformer that is dropped in training.

    Attributes:
        dim: channels of a hidden vector.
        prefix: tokens of the condition.
        position_embedding: float [positions, dim], if learned.
    """

    def __init__(
        self,
        shape: Sequence[int],
        embedding: Embedding,
        condition: Condition,
        transformer: Transformer,
        *,
        rotary: Rotary | None = "grid",
        learned_positions: bool = False,
        drop_tokens: float = 0.0,
    ) -> None:
        super().__init__()
        condition.bind(transformer.dim)
        self.shape, self.dim, self.rotary = tuple(shape), transformer.dim, rotary
        self.embedding, self.condition = embedding, condition
        self.position_embedding = (
            nn.Parameter(0.02 * torch.randn(prod(shape), self.dim)) if learned_positions else None
        )
        self.dropout = nn.Dropout(drop_tokens)
        self.transformer = transformer
        self.norm = transformer.norm_like()
        self._rotary_table: Tensor | None = None

    @property
    def positions(self) -> int:
        """Tokens of an item."""
        return prod(self.shape)

    @property
    def prefix(self) -> int:
        """Tokens of the condition, which stand before those of the item."""
        return self.condition.prefix

    def embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Embedded tokens, [batch, count, dim].

        Args:
            tokens: [batch, count, width].
            positions: where they stand, int64 [count], or [batch, count].
        """
        return self.add_positions(self.embedding(tokens), positions)

    def add_positions(self, x: Tensor, positions: Tensor) -> Tensor:
        """Vectors [batch, count, dim] plus, if learned, those of their positions; see `embed`."""
        if self.position_embedding is None:
            return x
        return x + self.position_embedding[positions.to(x.device)]

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        condition: Tensor | None = None,
        sizes: Sequence[int] = (),
        layer_caches: Sequence[LayerCache] | None = None,
    ) -> Tensor:
        """Hidden vectors for the head, [batch, count, dim].

        Args:
            x: what enters the transformer, [batch, count, dim].
            positions: where it stands, int64 [count], or [batch, count]; below 0 before the first
                token of the item.
            mask: see `Transformer`.
            causal: see `Transformer`.
            condition: of a transformer with a stream, see `Transformer`.
            sizes: see `Transformer`; one part if empty.
            layer_caches: see `Transformer`.
        """
        x = self.transformer(
            x,
            mask,
            condition=condition,
            sizes=sizes or (x.shape[1],),
            causal=causal,
            rotation=self.rotation(positions.to(x.device)) if self.rotary else None,
            layer_caches=layer_caches,
        )
        return self.norm(x)

    def rotation(self, positions: Tensor) -> Tensor:
        """Rotations of the tokens at some positions, int64 [count] or [batch, count], for
        `Attention`.

        Those of all positions are computed once for each device.
        """
        table = self._rotary_table
        if table is None or table.device != positions.device:
            with torch.inference_mode(False), torch.no_grad():  # so that trainings can use it, too
                every = torch.arange(-self.prefix, self.positions, device=positions.device)
                table = self._rotary_table = rotation(self._axes(every), self.transformer.head_size)
        found = table[positions + self.prefix]
        return found if positions.dim() == 1 else found.unsqueeze(1)

    def _axes(self, positions: Tensor) -> Tensor:
        """Coordinates of positions, int64 [count, axes]; negative where nothing is rotated."""
        if self.rotary == "line":
            return positions.unsqueeze(1) + self.prefix
        axes, rest = [], positions.clamp_min(0)
        for size in reversed(self.shape):
            axes.append(rest % size)
            rest = rest // size
        return torch.stack(axes[::-1], dim=1).masked_fill(positions.unsqueeze(1) < 0, -1)
