"""What every condition becomes: tokens before a sequence."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from intaglio.codecs.part import Part
from intaglio.generators.provenance import Provenance


class Condition(Part):
    """Base of conditions.

    Attributes:
        prefix: number of tokens that stand before the sequence.
    """

    prefix: int

    def check(self, provenance: Provenance) -> None:
        """Compare the condition with the data.

        Raises:
            ValueError: the data name conditions that there are not.
        """

    def of_batch(self, batch: Mapping[str, Any]) -> Tensor:
        """The condition of each item of a batch of the data module."""
        raise NotImplementedError

    def forward(self, condition: Tensor) -> Tensor:
        """Tokens before the sequence, [batch, prefix, dim].

        Raises:
            ValueError: there is no such condition.
        """
        raise NotImplementedError

    def vector(self, condition: Tensor) -> Tensor:
        """The condition as one vector, [batch, dim]: the sum of its tokens; see `forward`."""
        return self(condition).sum(1)

    def dropped(self, condition: Tensor, drop: Tensor) -> Tensor:
        """The condition, with none where ``drop``, bool [batch], is True."""
        raise NotImplementedError


class PromptCondition(Condition):
    """Base of conditions that are texts."""

    def check_texts(self, texts: Sequence[str]) -> None:
        """Compare texts with what there is room for.

        Raises:
            ValueError: one is too long.
        """
        raise NotImplementedError

    def of_texts(self, texts: Sequence[str]) -> Tensor:
        """The condition of each text; an empty one is no condition.

        Raises:
            ValueError: one is too long.
        """
        raise NotImplementedError
