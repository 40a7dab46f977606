"""The backbone as denoiser: its output is a velocity, a linear map away (xAR; Ren et al., 2025)."""

from torch import Tensor, nn

from intaglio.codecs.layers.positions import at_least_float32
from intaglio.generators.conditioning.guidance import guided
from intaglio.generators.heads.base import Head, Steering
from intaglio.generators.heads.continuous import in_float32
from intaglio.generators.inference.counter_rng import Draws


class FieldHead(Head):
    """A linear map to the velocity ``noise - data``, zero at the start.

    The truth of `loss` is a velocity, and `sample` gives one, drawn from nothing: the order that
    showed the backbone noisy tokens (`CellOrder`) goes on with it. The first loss is 2 on average
    where the data have unit variance.

    Args:
        dim: size of a hidden vector.
        channels: of a token.

    Raises:
        ValueError: no channel.
    """

    def __init__(self, dim: int, channels: int) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"a continuous token has at least 1 channel, got {channels}")
        self.dim, self.width = dim, channels
        self.linear = nn.Linear(dim, channels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def velocity(self, hidden: Tensor) -> Tensor:
        """[..., dim] → float32 [..., channels]."""
        with in_float32(hidden):
            return self.linear(at_least_float32(hidden))

    def loss(self, hidden: Tensor, token: Tensor) -> Tensor:
        """Squared error, the mean over the channels; see `Head.loss`."""
        return (self.velocity(hidden) - token).square().mean(-1).float()

    def _draw(self, hidden: Tensor, draws: Draws, how: Steering) -> Tensor:
        """The guided velocity; see `Head.sample`."""
        without = None if how.null is None else self.velocity(how.null)
        return guided(self.velocity(hidden), without, how.scale)
