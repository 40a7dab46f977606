"""How far drawn pictures are from real ones, and whether they are new."""

import math

import torch
from torch import Tensor

from intaglio.recipes.evaluation.image.metrics import (
    COMPONENTS,
    IMAGES_PER_DIMENSION,
    frechet_distance,
)

COPY_QUANTILE = 0.01
SLACK = 1e-5  # of the median distance: rounding
CHUNK = 512


def num_components(*counts: int) -> int:
    """Principal components that sets of so many pictures support: five pictures for each."""
    return min(COMPONENTS, min(counts) // IMAGES_PER_DIMENSION)


class PrincipalAxes:
    """Directions in which real training items differ most.

    Args:
        features: of them, float64 [items, dim].
        components: how many directions; all if there are fewer.
    """

    def __init__(self, features: Tensor, components: int) -> None:
        self.axes = torch.linalg.eigh(features.T.cov()).eigenvectors[:, -components:]

    def distance(self, x: Tensor, y: Tensor) -> float:
        """Frechet distance of two sets of features along them."""
        return frechet_distance(x @ self.axes, y @ self.axes)


def independent_kernel_distance(x: Tensor, y: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy under the kernel (x·y / dim + 1)³.

    As `intaglio.recipes.evaluation.image.metrics.kernel_distance`, but of sets that are drawn apart
    and may be of different sizes.
    """

    def within(one: Tensor) -> Tensor:
        kernel = _kernel(one, one)
        return (kernel.sum() - kernel.diagonal().sum()) / (len(one) * (len(one) - 1))

    return float(within(x) + within(y) - 2 * _kernel(x, y).mean())


class Neighbours:
    """Real training items, and how near to one of them is a copy.

    Near is a distance that one in a hundred training items has from the nearest other one.

    Args:
        features: float64 [items, dim]; two items at least.
    """

    def __init__(self, features: Tensor) -> None:
        self.features = features
        self.within, _ = self._nearest(features, itself=True)
        self.threshold = float(self.within.quantile(COPY_QUANTILE))
        self.slack = SLACK * float(self.within.median())

    def nearest(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Distance of the nearest training item, float64 [items], and its number."""
        return self._nearest(features, itself=False)

    def copies(self, features: Tensor) -> list[float]:
        """1 for each item that is near a training item, 0 for others."""
        distance, _ = self.nearest(features)
        return (distance <= self.threshold + self.slack).double().tolist()

    def _nearest(self, features: Tensor, *, itself: bool) -> tuple[Tensor, Tensor]:
        found = []
        for start in range(0, len(features), CHUNK):
            apart = torch.cdist(features[start : start + CHUNK], self.features)
            if itself:
                apart.diagonal(start).fill_(math.inf)
            found.append(apart.argmin(1))
        index = torch.cat(found)
        # again, without the rounding of the product: equal items are 0 apart
        return (features - self.features[index]).norm(dim=1), index


def distinct_share(tokens: Tensor) -> float:
    """Share of different items among those drawn, [items, positions, width]."""
    return len(tokens.flatten(1).unique(dim=0)) / len(tokens)


def exact_copies(tokens: Tensor, views: Tensor) -> list[float]:
    """1 for each item whose ids, [items, positions, groups], are those of a training view."""
    known = {row.numpy().tobytes() for row in views.flatten(1)}
    return [float(row.numpy().tobytes() in known) for row in tokens.cpu().flatten(1)]


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3
