"""The backbone as denoiser: its output is mapped linearly to a velocity (xAR; Ren et al., 2025)."""

from torch import Tensor, nn

from intaglio.codecs.layers.positions import at_least_float32
from intaglio.generators.conditioning.guidance import guided
from intaglio.generators.heads.base import Head, SamplingOptions
from intaglio.generators.heads.continuous import in_float32
from intaglio.generators.inference.counter_rng import Draws


class FieldHead(Head):
    """A linear map to the velocity ``noise - data``, initialised to zero.

    The target of `loss` is a velocity, and `sample` returns the predicted velocity without drawing
    anything: `CellOrder`, which feeds noisy tokens to the backbone, integrates it. The initial loss
    is 2 on average if the data have unit variance.

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
        """Squared error, averaged over the channels; see `Head.loss`."""
        return (self.velocity(hidden) - token).square().mean(-1).float()

    def _draw(self, hidden: Tensor, draws: Draws, options: SamplingOptions) -> Tensor:
        """The guided velocity; see `Head.sample`."""
        without = None if options.null is None else self.velocity(options.null)
        return guided(self.velocity(hidden), without, options.scale)
