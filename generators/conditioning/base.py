"""The contract of conditions: each becomes tokens before the sequence."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from torch import Tensor

from intaglio.codecs.part import Part
from intaglio.generators.provenance import Provenance


class Condition(Part):
    """Base of conditions.

    A condition is constructed without the size of a token: the generator knows it and calls `bind`.

    Attributes:
        prefix: number of tokens before the sequence.
        dim: size of a token; None before `bind`.
    """

    prefix: int
    dim: int | None = None

    def bind(self, dim: int) -> Self:
        """Create the weights for tokens of ``dim`` channels.

        Raises:
            ValueError: the condition already has weights for another size.
        """
        if self.dim is None:
            self.dim = dim
            self.create_weights(dim)
        if self.dim != dim:
            raise ValueError(f"a condition of {self.dim} channels does not fit a backbone of {dim}")
        return self

    def create_weights(self, dim: int) -> None:
        """Set the parameters, given the size of a token; called once, by `bind`."""
        raise NotImplementedError

    def check(self, provenance: Provenance) -> None:
        """Compare the condition with the data.

        Raises:
            ValueError: the data have conditions that this one cannot represent.
        """

    def of_batch(self, batch: Mapping[str, Any]) -> Tensor:
        """Condition of each item of a batch of the data, by its ``label`` or ``caption``."""
        raise NotImplementedError

    def forward(self, condition: Tensor) -> Tensor:
        """Tokens before the sequence, [batch, prefix, dim].

        Raises:
            ValueError: the condition is out of range.
        """
        raise NotImplementedError

    def vector(self, condition: Tensor) -> Tensor:
        """The condition as one vector, [batch, dim]: the sum of its tokens; see `forward`."""
        return self(condition).sum(1)

    def dropped(self, condition: Tensor, drop: Tensor) -> Tensor:
        """The condition, replaced by no condition where ``drop``, bool [batch], is True."""
        raise NotImplementedError


class PromptCondition(Condition):
    """Base of conditions that are texts."""

    def check(self, provenance: Provenance) -> None:
        """See `Condition.check`."""
        if provenance.texts == 0:
            raise ValueError(
                "no item for training has a text, and the generator is conditioned on texts: give "
                "data with captions, or condition it on classes"
            )

    def check_texts(self, texts: Sequence[str]) -> None:
        """Check the lengths of texts.

        Raises:
            ValueError: one is too long.
        """
        raise NotImplementedError

    def of_texts(self, texts: Sequence[str]) -> Tensor:
        """Condition of each text; an empty text is no condition.

        Raises:
            ValueError: one is too long.
        """
        raise NotImplementedError
