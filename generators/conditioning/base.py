"""What every condition becomes: tokens before a sequence."""

from torch import Tensor

from intaglio.codecs.part import Part


class Condition(Part):
    """Base of conditions.

    Attributes:
        prefix: number of tokens that stand before the sequence.
    """

    prefix: int

    def forward(self, condition: Tensor) -> Tensor:
        """Tokens before the sequence, [batch, prefix, dim].

        Raises:
            ValueError: there is no such condition.
        """
        raise NotImplementedError

    def dropped(self, condition: Tensor, drop: Tensor) -> Tensor:
        """The condition, without one where ``drop``, bool [batch], is True."""
        raise NotImplementedError
