"""A generator of tokens: embedding, condition, backbone, head, and an order that wires them.

It never sees the codec whose tokens it draws; it knows their number and the sizes of the codebooks.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from intaglio.codecs.layers.attention import Store
from intaglio.codecs.layers.positions import rotation
from intaglio.codecs.layers.transformer import Transformer
from intaglio.codecs.part import Part
from intaglio.generators.conditioning.base import Condition
from intaglio.generators.embedding import Embedding
from intaglio.generators.heads.base import Head
from intaglio.generators.orders.base import Lesson, Order


class Generator(Part):
    """The parts of a generator.

    Args:
        shape: of the tokens of an item: (rows, columns), or (positions,).
        embedding: of the tokens that are known.
        condition: what is told.
        backbone: the transformer.
        head: law of a token.
        order: which token when.
        rotary: whether the backbone turns queries and keys by the places of the tokens.
        learned: whether tokens get learned vectors of their places.
        drop_tokens: share of the channels that enter the backbone that is dropped in training.
        drop_condition: share of the items that are not told their condition in training.
        name: of the generator.

    Raises:
        ValueError: the parts do not fit together.
    """

    def __init__(
        self,
        shape: Sequence[int],
        embedding: Embedding,
        condition: Condition,
        backbone: Transformer,
        head: Head,
        order: Order,
        *,
        rotary: bool = True,
        learned: bool = False,
        drop_tokens: float = 0.0,
        drop_condition: float = 0.1,
        name: str = "generator",
    ) -> None:
        super().__init__()
        if embedding.width != head.width:
            raise ValueError(f"tokens of width {embedding.width} need no head of {head.width}")
        if backbone.dim != head.dim:
            raise ValueError(f"a backbone of {backbone.dim} channels needs no head of {head.dim}")
        self.shape = tuple(shape)
        self.embedding, self.condition, self.backbone = embedding, condition, backbone
        self.head, self.order, self.name = head, order, name
        self.rotary, self.drop_condition = rotary, drop_condition
        self.places = (
            nn.Parameter(0.02 * torch.randn(prod(shape), backbone.dim)) if learned else None
        )
        self.dropout = nn.Dropout(drop_tokens)
        self.norm = backbone.norm_like()

    @property
    def positions(self) -> int:
        """Tokens of an item."""
        return prod(self.shape)

    @property
    def vocab(self) -> tuple[int, ...]:
        """Sizes of the codebooks; empty for continuous tokens."""
        return self.embedding.vocab

    def lesson(self, tokens: Tensor, condition: Tensor) -> Lesson:
        """What to learn of a batch; in training some items are not told their condition.

        Args:
            tokens: [batch, positions, width].
            condition: of each item, as the condition takes it.

        Raises:
            ValueError: the tokens are not those of an item, or there is no such condition.
        """
        expected = (self.positions, self.embedding.width)
        if tuple(tokens.shape[1:]) != expected:
            raise ValueError(
                f"items of {expected} tokens are needed, got {tuple(tokens.shape[1:])}"
            )
        if self.training and self.drop_condition:
            drop = torch.rand(len(tokens), device=tokens.device) < self.drop_condition
            condition = self.condition.dropped(condition, drop)
        return self.order.lesson(self, tokens, condition)

    def loss(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """Loss of each token, float32 [tokens]; arguments as of `lesson`."""
        lesson = self.lesson(tokens, condition)
        return self.head.loss(lesson.hidden, lesson.target)

    def log_prob(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """Log-probability of each token in nats, float32 [batch, positions]; as of `lesson`."""
        lesson = self.lesson(tokens, condition)
        found = self.head.log_prob(lesson.hidden, lesson.target)
        return found.unflatten(0, (len(tokens), -1))

    def vectors(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Embedded tokens, [batch, count, dim], that stand at some positions, int64 [count]."""
        return self.placed(self.embedding(tokens), positions)

    def placed(self, x: Tensor, positions: Tensor) -> Tensor:
        """Vectors [batch, count, dim] and, if learned, those of their positions, int64 [count]."""
        return x if self.places is None else x + self.places[positions.to(x.device)]

    def through(
        self,
        x: Tensor,
        positions: Tensor,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        stores: Sequence[Store] | None = None,
    ) -> Tensor:
        """Hidden vectors of the head, [batch, count, dim].

        Args:
            x: what enters the backbone, [batch, count, dim].
            positions: where it stands, int64 [count]; below 0 before the first token.
            mask: see `Transformer`.
            causal: see `Transformer`.
            stores: see `Transformer`.
        """
        turn = self._rotation(positions.to(x.device)) if self.rotary else None
        x = self.backbone(x, mask, causal=causal, rotation=turn, stores=stores)
        return self.norm(x)

    def _rotation(self, positions: Tensor) -> Tensor:
        axes = []
        rest = positions.clamp_min(0)
        for size in reversed(self.shape):
            axes.append(rest % size)
            rest = rest // size
        places = torch.stack(axes[::-1], dim=1)
        places = places.masked_fill(positions.unsqueeze(1) < 0, -1)
        return rotation(places, self.backbone.head_size)
