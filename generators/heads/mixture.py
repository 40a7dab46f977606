"""Mixtures of normal distributions, as GIVT has them (Tschannen et al., 2024).

Deviations: the spread is the root of a floored exponential, not a softplus; guidance acts on the
parameters of each component, where GIVT draws from the tilted density by rejection.
"""

import torch
from torch import Tensor, nn

from intaglio.codecs.layers.positions import at_least_float32
from intaglio.generators.heads.continuous import in_float32
from intaglio.generators.heads.densities import DensityHead, GaussianMixture
from intaglio.generators.heads.gaussian import FLOOR, floored, zero_linear


class MixtureHead(DensityHead):
    """A linear map to weights, means and log-variances of some components.

    Weights of the map are zero at the start and components have equal shares, variance 1 and means
    that are drawn from a standard normal distribution, so that each learns something else.

    Args:
        dim: size of a hidden vector.
        channels: of a token, standardised.
        components: normal distributions with independent channels; 16 in GIVT.
        floor: of the variance.

    Raises:
        ValueError: no channel, no component, or a floor not above 0.
    """

    def __init__(
        self, dim: int, channels: int, *, components: int = 16, floor: float = FLOOR
    ) -> None:
        super().__init__()
        if components < 1 or floor <= 0:
            raise ValueError(
                f"at least 1 component and a floor above 0, got {components} and {floor}"
            )
        self.dim, self.width = dim, channels
        self.components, self.floor = components, floor
        self.linear = zero_linear(dim, 2 * components, channels)
        self.weights = nn.Linear(dim, components)
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)
        with torch.no_grad():
            nn.init.normal_(self.linear.bias[: components * channels])

    def mixture(self, hidden: Tensor) -> GaussianMixture:
        """See `DensityHead.mixture`."""
        with in_float32(hidden):
            hidden = at_least_float32(hidden)
            mean, raw = (
                one.unflatten(-1, (self.components, self.width))
                for one in self.linear(hidden).chunk(2, dim=-1)
            )
            weights = self.weights(hidden).log_softmax(-1)
            return GaussianMixture(weights, mean, floored(raw, self.floor) / 2)
