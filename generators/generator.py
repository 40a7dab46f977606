"""A generator of tokens: a backbone, a head, and the order in which tokens are predicted.

It never sees the codec whose tokens it draws; it knows their number and the sizes of the codebooks.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor
from torch.nn import functional as F

from intaglio.codecs.part import Part
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.base import Condition
from intaglio.generators.heads.base import IGNORED, Head
from intaglio.generators.orders.base import (
    DecodingState,
    Order,
    Predictions,
    Request,
    SequenceOrder,
)
from intaglio.generators.provenance import Provenance, packed, unpacked


class Generator(Part):
    """The parts of a generator.

    Args:
        backbone: reads the condition and the tokens that are known.
        head: distribution of a token.
        order: which token is predicted when.
        drop_condition: share of the items that lose their condition in training, so that the
            generator learns to draw without one, too.
        digits: sizes of the digits that a token's one id is split into, the least significant
            first, as are the levels of a finite scalar quantizer; they are the groups of embedding
            and head. None if empty.
        end_of_sequence: whether items have any length up to the number of positions. The head then
            has one more id in its first group, which ends an item; an item of all positions ends
            without it.
        name: of the generator.

    Attributes:
        end: the id that ends an item, or None.
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
        backbone: Backbone,
        head: Head,
        order: Order,
        *,
        drop_condition: float = 0.1,
        digits: Sequence[int] = (),
        end_of_sequence: bool = False,
        name: str = "generator",
    ) -> None:
        super().__init__()
        embedding = backbone.embedding
        if embedding.width != head.width:
            raise ValueError(f"tokens of width {embedding.width} need no head of {head.width}")
        if backbone.dim != head.dim:
            raise ValueError(f"a backbone of {backbone.dim} channels needs no head of {head.dim}")
        if digits and tuple(digits) != embedding.vocab:
            raise ValueError(f"digits {tuple(digits)} need no embedding of {embedding.vocab}")
        self.digits = tuple(digits)
        sizes = torch.tensor(self.digits, dtype=torch.int64)
        self.register_buffer("basis", sizes.cumprod(0) // sizes, persistent=False)
        self.backbone, self.head, self.order, self.name = backbone, head, order, name
        self.drop_condition = drop_condition
        self.end = self._end() if end_of_sequence else None
        width = embedding.width
        self.register_buffer("mean", None if embedding.vocab else torch.zeros(width))
        self.register_buffer("std", None if embedding.vocab else torch.ones(width))
        self.provenance: Provenance | None = None

    def _end(self) -> int:
        """The id that ends an item.

        Raises:
            ValueError: the parts have no such id.
        """
        vocab = self.backbone.embedding.vocab
        if not isinstance(self.order, SequenceOrder):
            raise ValueError(f"{type(self.order).__name__} draws items of one length only")
        if len(self.shape) > 1 or not vocab:
            raise ValueError("items of any length are sequences of ids, no grids and no vectors")
        wanted = (vocab[0] + 1, *vocab[1:])
        if self.head.vocab != wanted or not self.head.can_end:
            raise ValueError(
                f"an end of sequence needs a head that predicts it first, of vocabulary {wanted}, "
                f"got a {type(self.head).__name__} of {self.head.vocab}"
            )
        return vocab[0]

    @property
    def condition(self) -> Condition:
        """What items are conditioned on."""
        return self.backbone.condition

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns of the tokens of an item, or their number."""
        return self.backbone.shape

    @property
    def positions(self) -> int:
        """Tokens of an item, or of the longest."""
        return self.backbone.positions

    @property
    def vocab(self) -> tuple[int, ...]:
        """Sizes of the codebooks; empty for continuous tokens."""
        return (prod(self.digits),) if self.digits else self.backbone.embedding.vocab

    @property
    def width(self) -> int:
        """Groups of ids of a token, or its channels."""
        return 1 if self.digits else self.backbone.embedding.width

    def predictions(
        self, tokens: Tensor, condition: Tensor, mask: Tensor | None = None
    ) -> Predictions:
        """What is predicted of a batch, and the targets; in training some items lose their
        condition.

        Args:
            tokens: [batch, positions, width].
            condition: of each item, as the condition takes it.
            mask: bool [batch, positions], which positions the items have, True first, if they may
                have any length; all if None. What stands at the others has no influence.

        Raises:
            ValueError: the tokens are not those of an item, or there is no such condition.
        """
        self._check_items(tokens, mask)
        if self.training and self.drop_condition:
            drop = torch.rand(len(tokens), device=tokens.device) < self.drop_condition
            condition = self.condition.dropped(condition, drop)
        tokens = self.normalise(tokens)
        if self.end is None:
            return self.order.predictions(self.backbone, tokens, condition)
        assert isinstance(self.order, SequenceOrder)
        tokens, mask = self._with_end(tokens, mask)
        return self.order.predictions(self.backbone, tokens, condition, mask)

    def _check_items(self, tokens: Tensor, mask: Tensor | None) -> None:
        found = tuple(tokens.shape[1:])
        if self.end is None:
            if found != (self.positions, self.width):
                expected = (self.positions, self.width)
                raise ValueError(f"items of {expected} tokens are needed, got {found}")
            if mask is not None:
                raise ValueError(
                    f"{self.name} draws items of {self.positions} tokens; to mask some build it "
                    "with end_of_sequence"
                )
            return
        if found[0] > self.positions or found[1:] != (self.width,):
            longest = (self.positions, self.width)
            raise ValueError(f"items of at most {longest} tokens are needed, got {found}")
        if mask is None:
            return
        if mask.dtype != torch.bool or mask.shape != tokens.shape[:2]:
            raise ValueError(
                f"a mask is bool {list(tokens.shape[:2])}, got {mask.dtype} {list(mask.shape)}"
            )
        if bool((mask[:, 1:] & ~mask[:, :-1]).any()):
            raise ValueError("the positions of an item come first in its mask")

    def _with_end(self, tokens: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Tokens with the end behind each item, and the mask of both."""
        batch, count, width = tokens.shape
        total = min(count + 1, self.positions)
        lengths = tokens.new_full((batch,), count) if mask is None else mask.sum(1)
        positions = torch.arange(total, device=tokens.device)
        end = tokens.new_tensor([self.end, *[IGNORED] * (width - 1)])
        at_end = (positions == lengths.unsqueeze(1)).unsqueeze(-1)
        tokens = torch.where(at_end, end, F.pad(tokens, (0, 0, 0, total - count)))
        return tokens, positions <= lengths.unsqueeze(1)

    def start_decoding(self, request: Request) -> DecodingState:
        """Begin to draw a batch; see `Order.start_decoding`."""
        return self.order.start_decoding(self.backbone, self.head, request)

    @torch.no_grad()
    def fit_normalisation(self, tokens: Tensor) -> None:
        """Take mean and standard deviation of each channel from tokens [..., width].

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

    def loss(self, tokens: Tensor, condition: Tensor, mask: Tensor | None = None) -> Tensor:
        """Loss of each predicted token, float32 [tokens]; arguments as for `predictions`."""
        predictions = self.predictions(tokens, condition, mask)
        return self.head.loss(predictions.hidden, predictions.target)

    def log_prob(self, tokens: Tensor, condition: Tensor, mask: Tensor | None = None) -> Tensor:
        """Log-probability of each token in nats, float32 [batch, positions].

        If items may have any length, there is one position more, up to the number of positions:
        the end counts as a token, and there is 0 behind it. The sum is always that of the item.
        """
        predictions = self.predictions(tokens, condition, mask)
        found = self.head.log_prob(predictions.hidden, predictions.target)
        if predictions.mask is not None:
            return found.new_zeros(predictions.mask.shape).masked_scatter(predictions.mask, found)
        if self.std is not None:  # a density, per unit of the tokens as they were given
            found = found - self.std.log().sum()
        found, positions = (
            x.unflatten(0, (len(tokens), -1)) for x in (found, predictions.positions)
        )
        return found.gather(1, positions.argsort(1))
