"""What every head is: the law of the token at a position, given the backbone's output there."""

from typing import NamedTuple

from torch import Tensor

from intaglio.codecs.part import Part
from intaglio.generators.inference.counter_rng import Draws
from intaglio.generators.inference.logits import PLAIN, Warp


class Steering(NamedTuple):
    """What changes a law before a draw; see `Head.sample`."""

    null: Tensor | None
    scale: float | Tensor
    warp: Warp


class Head(Part):
    """Base of heads.

    A token is a row of ids, int64 [groups], or a vector, float [channels].

    Attributes:
        dim: size of a hidden vector.
        width: groups or channels of a token.
        tractable: whether `log_prob` is there; then the loss is its negative, in nats.
    """

    dim: int
    width: int
    tractable: bool = False

    def loss(self, hidden: Tensor, token: Tensor) -> Tensor:
        """What to minimise, float32 [tokens], for training only.

        Args:
            hidden: [tokens, dim].
            token: [tokens, width]; the truth.
        """
        raise NotImplementedError

    def log_prob(self, hidden: Tensor, token: Tensor) -> Tensor:
        """Log-probability, or log-density, in nats, float32 [tokens]; arguments as in `loss`.

        Raises:
            NotImplementedError: the law cannot be evaluated; ``tractable`` tells.
        """
        raise NotImplementedError(f"{type(self).__name__} has no likelihood")

    def sample(
        self,
        hidden: Tensor,
        draws: Draws,
        *,
        null: Tensor | None = None,
        scale: float | Tensor = 1.0,
        warp: Warp = PLAIN,
    ) -> Tensor:
        """Draw tokens, [batch, positions, width].

        Args:
            hidden: [batch, positions, dim].
            draws: random numbers for these positions.
            null: hidden vectors without the condition, for guidance (Ho and Salimans, 2022).
            scale: guidance scale, float or float [batch]; what is guided becomes without + scale *
                (with - without). 1 means none.
            warp: temperature and truncation; a continuous law takes the temperature only, as the
                scale of its noise.
        """
        return self._draw(hidden, draws, Steering(null, scale, warp))

    def _draw(self, hidden: Tensor, draws: Draws, how: Steering) -> Tensor:
        """As `sample`."""
        raise NotImplementedError
