"""The contract of heads: distributions of tokens, given the hidden vectors of the backbone."""

from typing import NamedTuple

from torch import Tensor

from intaglio.codecs.part import Part
from intaglio.generators.inference.counter_rng import Draws
from intaglio.generators.inference.logits import PLAIN, Warp

IGNORED = -100  # in place of an id that is not predicted


class SamplingOptions(NamedTuple):
    """Guidance and warping of a draw; see `Head.sample`."""

    null: Tensor | None
    scale: float | Tensor
    warp: Warp
    steps: int | None = None


class Head(Part):
    """Base of heads.

    A token is a row of ids, int64 [groups], or a vector, float [channels].

    Attributes:
        dim: size of a hidden vector.
        width: number of groups or channels of a token.
        vocab: number of ids of each group; empty for vectors.
        tractable: whether `log_prob` is implemented.
        can_end: whether an id of the first group may end a sequence. The groups after it are then
            `IGNORED` in a target: they have no loss and probability 1.
        denoises: whether it draws in steps, of which `sample` takes the number.
    """

    dim: int
    width: int
    vocab: tuple[int, ...] = ()
    tractable: bool = False
    can_end: bool = False
    denoises: bool = False

    def loss(self, hidden: Tensor, token: Tensor) -> Tensor:
        """Training loss of each token, float32 [tokens].

        Args:
            hidden: [tokens, dim].
            token: [tokens, width]; the target.
        """
        raise NotImplementedError

    def log_prob(self, hidden: Tensor, token: Tensor) -> Tensor:
        """Log-probability, or log-density, in nats, float32 [tokens]; arguments as in `loss`.

        Raises:
            NotImplementedError: the head is not ``tractable``.
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
        steps: int | None = None,
    ) -> Tensor:
        """Draw tokens, [batch, positions, width].

        Args:
            hidden: [batch, positions, dim].
            draws: random numbers for these positions.
            null: hidden vectors without the condition, for guidance (Ho and Salimans, 2022).
            scale: guidance scale, float or float [batch]: unconditional + scale * (conditional -
                unconditional). 1 means no guidance.
            warp: temperature and truncation; continuous heads use the temperature only, as a
                factor of their noise.
            steps: of a head that denoises; None for its own number.
        """
        return self._draw(hidden, draws, SamplingOptions(null, scale, warp, steps))

    def _draw(self, hidden: Tensor, draws: Draws, options: SamplingOptions) -> Tensor:
        """The head's part of `sample`."""
        raise NotImplementedError
