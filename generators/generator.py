"""A generator of tokens: embedding, condition, backbone, head, and an order that wires them.

It never sees the codec whose tokens it draws; it knows their number and the sizes of the codebooks.
"""

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
from intaglio.generators.heads.base import Head
from intaglio.generators.orders.base import Order, Predictions
from intaglio.generators.provenance import Provenance, packed, unpacked


class Generator(Part):
    """The parts of a generator.

    Args:
        shape: of the tokens of an item: (rows, columns), or (positions,).
        embedding: of the tokens that are known.
        condition: what is told.
        backbone: the transformer.
        head: law of a token.
        order: which token when.
        rotary: whether the backbone turns queries and keys by the places of the tokens; ``line``
            for one axis, the place in the sequence from the condition's first token on, as in
            Llama, whatever the shape.
        learned: whether tokens get learned vectors of their places.
        drop_tokens: share of the channels that enter the backbone that is dropped in training.
        drop_condition: share of the items that are not told their condition in training.
        digits: sizes of the digits that a token's one id is split into, the least significant
            first, as are the levels of a finite scalar quantizer; they are the groups of embedding
            and head. None if empty.
        name: of the generator.

    Attributes:
        mean, std: of the channels of continuous tokens, float32 [width]; inside the generator
            tokens are standardised by them. None for ids.
        provenance: what it was trained on; None before a training.

    Raises:
        ValueError: the parts do not fit together.
    """

    mean: Tensor | None
    std: Tensor | None
    basis: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        embedding: Embedding,
        condition: Condition,
        backbone: Transformer,
        head: Head,
        order: Order,
        *,
        rotary: bool | Literal["line"] = True,
        learned: bool = False,
        drop_tokens: float = 0.0,
        drop_condition: float = 0.1,
        digits: Sequence[int] = (),
        name: str = "generator",
    ) -> None:
        super().__init__()
        condition.bind(backbone.dim)
        if embedding.width != head.width:
            raise ValueError(f"tokens of width {embedding.width} need no head of {head.width}")
        if backbone.dim != head.dim:
            raise ValueError(f"a backbone of {backbone.dim} channels needs no head of {head.dim}")
        if digits and tuple(digits) != embedding.vocab:
            raise ValueError(f"digits {tuple(digits)} need no embedding of {embedding.vocab}")
        self.shape, self.digits = tuple(shape), tuple(digits)
        sizes = torch.tensor(self.digits, dtype=torch.int64)
        self.register_buffer("basis", sizes.cumprod(0) // sizes, persistent=False)
        self.embedding, self.condition, self.backbone = embedding, condition, backbone
        self.head, self.order, self.name = head, order, name
        self.rotary, self.drop_condition = rotary, drop_condition
        self.places = (
            nn.Parameter(0.02 * torch.randn(prod(shape), backbone.dim)) if learned else None
        )
        self.dropout = nn.Dropout(drop_tokens)
        self.norm = backbone.norm_like()
        width = embedding.width
        self.register_buffer("mean", None if embedding.vocab else torch.zeros(width))
        self.register_buffer("std", None if embedding.vocab else torch.ones(width))
        self.provenance: Provenance | None = None
        self._turns: Tensor | None = None

    @property
    def positions(self) -> int:
        """Tokens of an item."""
        return prod(self.shape)

    @property
    def vocab(self) -> tuple[int, ...]:
        """Sizes of the codebooks; empty for continuous tokens."""
        return (prod(self.digits),) if self.digits else self.embedding.vocab

    @property
    def width(self) -> int:
        """Groups of ids of a token, or its channels."""
        return 1 if self.digits else self.embedding.width

    def predictions(self, tokens: Tensor, condition: Tensor) -> Predictions:
        """What to learn of a batch; in training some items are not told their condition.

        Args:
            tokens: [batch, positions, width].
            condition: of each item, as the condition takes it.

        Raises:
            ValueError: the tokens are not those of an item, or there is no such condition.
        """
        expected = (self.positions, self.width)
        if tuple(tokens.shape[1:]) != expected:
            raise ValueError(
                f"items of {expected} tokens are needed, got {tuple(tokens.shape[1:])}"
            )
        if self.training and self.drop_condition:
            drop = torch.rand(len(tokens), device=tokens.device) < self.drop_condition
            condition = self.condition.dropped(condition, drop)
        return self.order.predictions(self, self.normalise(tokens), condition)

    @torch.no_grad()
    def fit_normalisation(self, tokens: Tensor) -> None:
        """Take mean and deviation of each channel from tokens [items, positions, width].

        Raises:
            ValueError: a channel does not vary.
        """
        if self.mean is None or self.std is None:
            return
        flat = tokens.float().reshape(-1, self.width)
        std = flat.std(0)
        if not bool((std > 0).all()):
            raise ValueError(f"channel {int(std.argmin())} of the tokens does not vary")
        self.mean.copy_(flat.mean(0))
        self.std.copy_(std)

    def normalise(self, tokens: Tensor) -> Tensor:
        """Tokens as the parts take them: ids split into digits, vectors standardised."""
        if self.mean is not None and self.std is not None:
            return (tokens - self.mean) / self.std
        if not self.digits:
            return tokens
        return tokens // self.basis % torch.tensor(self.digits, device=tokens.device)

    def denormalise(self, tokens: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        if self.mean is not None and self.std is not None:
            return tokens * self.std + self.mean
        return (tokens * self.basis).sum(-1, keepdim=True) if self.digits else tokens

    def get_extra_state(self) -> Tensor:
        """The provenance, which belongs to the weights."""
        return packed(self.provenance)

    def set_extra_state(self, state: Tensor) -> None:
        """Take the provenance back."""
        self.provenance = unpacked(state)

    def loss(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """Loss of each token, float32 [tokens]; arguments as of `predictions`."""
        predictions = self.predictions(tokens, condition)
        return self.head.loss(predictions.hidden, predictions.target)

    def log_prob(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """Log-probability of each token in nats, float32 [batch, positions]."""
        predictions = self.predictions(tokens, condition)
        found = self.head.log_prob(predictions.hidden, predictions.target)
        if self.std is not None:  # a density, per unit of the tokens as they were given
            found = found - self.std.log().sum()
        found, positions = (
            x.unflatten(0, (len(tokens), -1)) for x in (found, predictions.positions)
        )
        return found.gather(1, positions.argsort(1))

    def embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Embedded tokens, [batch, count, dim], that stand at some positions, int64 [count]."""
        return self.add_positions(self.embedding(tokens), positions)

    def add_positions(self, x: Tensor, positions: Tensor) -> Tensor:
        """Vectors [batch, count, dim] and, if learned, those of their positions, int64 [count]."""
        return x if self.places is None else x + self.places[positions.to(x.device)]

    def hidden_states(
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
        """Hidden vectors of the head, [batch, count, dim].

        Args:
            x: what enters the backbone, [batch, count, dim].
            positions: where it stands, int64 [count]; below 0 before the first token.
            mask: see `Transformer`.
            causal: see `Transformer`.
            condition: of a backbone with a stream, see `Transformer`.
            sizes: see `Transformer`; one part if empty.
            layer_caches: see `Transformer`.
        """
        turn = self._rotation(positions.to(x.device)) if self.rotary else None
        x = self.backbone(
            x,
            mask,
            condition=condition,
            sizes=sizes or (x.shape[1],),
            causal=causal,
            rotation=turn,
            layer_caches=layer_caches,
        )
        return self.norm(x)

    def _rotation(self, positions: Tensor) -> Tensor:
        """Turns of tokens at some positions; those of all are worked out once for each device."""
        if self._turns is None or self._turns.device != positions.device:
            with torch.inference_mode(False), torch.no_grad():  # to be of use in trainings, too
                every = torch.arange(
                    -self.condition.prefix, self.positions, device=positions.device
                )
                self._turns = self._turns_at(every)
        return self._turns[positions + self.condition.prefix]

    def _turns_at(self, positions: Tensor) -> Tensor:
        if self.rotary == "line":
            places = positions.unsqueeze(1) + self.condition.prefix
            return rotation(places, self.backbone.head_size)
        axes = []
        rest = positions.clamp_min(0)
        for size in reversed(self.shape):
            axes.append(rest % size)
            rest = rest // size
        places = torch.stack(axes[::-1], dim=1)
        places = places.masked_fill(positions.unsqueeze(1) < 0, -1)
        return rotation(places, self.backbone.head_size)
