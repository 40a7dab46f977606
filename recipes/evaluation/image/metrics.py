"""Metrics of decoded images against their originals, on 8-bit pixels.

PSNR: 10 log10(255^2 / MSE) of each image. SSIM (Wang et al., 2004): Gaussian window of 11 x 11,
sigma 1.5, K1 0.01, K2 0.03, population covariance, per channel, where the window fits: the values
of scikit-image with ``gaussian_weights``. lpips-lite: the formula of LPIPS (Zhang et al., 2018) on
EfficientNet-Lite0 with even weights. rKID and rFD: the kernel distance (Binkowski et al., 2018) and
the Frechet distance (Heusel et al., 2017) between originals and reconstructions on features of the
same network; not those of Inception, which the names say (those are in `published_metrics`). The
Frechet distance is biased where there are fewer than a few images a dimension, so it is given on 64
principal components of the originals, and on all 1280 dimensions only with 6,400 images.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from intaglio.recipes.evaluation.image.features import (
    BACKBONE,
    BATCH,
    MIN_SIDE,
    PACKAGES,
    SIZE,
    features,
    pooled_features,
)
from intaglio.recipes.evaluation.items import ItemSet
from intaglio.recipes.evaluation.scores import Metric, Pair, Score, mean_score

WINDOW = 11
SIGMA = 1.5
IMAGES_PER_DIMENSION = 5
COMPONENTS = 64
DIMENSIONS = 1280


class PSNR(Metric):
    """Peak signal-to-noise ratio of 8-bit pixels."""

    name, label, unit, decimals = "psnr", "PSNR", "dB", 2

    def __call__(self, pair: Pair) -> float:
        """Ratio in dB; an exact copy has none."""
        error = float((pair.reference.double() - pair.decoded.double()).square().mean())
        if error == 0:
            raise ValueError("PSNR is unbounded: a copy of the original")
        return 10 * math.log10(255**2 / error)


class SSIM(Metric):
    """Structural similarity, at most 1."""

    name, label = "ssim", "SSIM"

    def __call__(self, pair: Pair) -> float:
        """Mean over channels and the positions of the window."""
        if min(pair.reference.shape[1:]) < WINDOW:
            raise ValueError(f"SSIM needs sides of {WINDOW} pixels")
        x, y = (pixels.double().unsqueeze(1) for pixels in pair[:2])
        offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
        line = torch.exp(-(offsets**2) / (2 * SIGMA**2))
        line = line / line.sum()

        def mean(values: Tensor) -> Tensor:
            return F.conv2d(F.conv2d(values, line.view(1, 1, -1, 1)), line.view(1, 1, 1, -1))

        a, b = mean(x), mean(y)
        spread = mean(x * x) - a * a + mean(y * y) - b * b
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        joint = mean(x * y) - a * b
        similarity = (2 * a * b + c1) * (2 * joint + c2) / ((a * a + b * b + c1) * (spread + c2))
        return float(similarity.mean())


class PerceptualDistance(Metric):
    """Distance of features, each of unit length, summed over channels, mean over stages."""

    name, label, higher_is_better = "lpips-lite", "lpips-lite", False
    packages, extra = PACKAGES, "metrics"

    def __call__(self, pair: Pair) -> float:
        """Distance at the images' own size; 0 for a copy."""
        return self._values(pair.reference.unsqueeze(0), pair.decoded.unsqueeze(0))[0]

    def score(self, originals: ItemSet, decoded: ItemSet, seed: int = 0) -> Score:
        """The metric over two sets; images of one size go through the network together."""
        if self.absence() or len({image.shape for image in originals.contents}) > 1:
            return super().score(originals, decoded, seed)
        values: list[float] = []
        try:
            for start in range(0, len(originals), BATCH):
                batch = slice(start, start + BATCH)
                x, y = (torch.stack(one.contents[batch]) for one in (originals, decoded))
                values += self._values(x, y)
        except ValueError as error:
            return mean_score([], reasons=[str(error)] * len(originals), seed=seed)
        return mean_score(values, seed=seed)

    def _values(self, originals: Tensor, decoded: Tensor) -> list[float]:
        if min(originals.shape[2:]) < MIN_SIDE:
            raise ValueError(f"lpips-lite needs sides of {MIN_SIDE} pixels")
        stages = zip(features(originals).stages, features(decoded).stages, strict=True)
        distances = []
        for pair in stages:
            x, y = (F.normalize(stage, dim=1, eps=1e-10) for stage in pair)
            distances.append((x - y).square().sum(1).mean((1, 2)))
        return torch.stack(distances).mean(0).tolist()


class KernelDistance(Metric):
    """Unbiased kernel distance of pooled features, times 1000; it may be below 0."""

    name = label = f"rKID[{BACKBONE}@{SIZE}]"
    unit, higher_is_better, decimals = "×10⁻³", False, 2
    packages, extra = PACKAGES, "metrics"

    def score(self, originals: ItemSet, decoded: ItemSet, seed: int = 0) -> Score:
        """One number for the whole set; at least two images."""
        if reason := self.absence():
            return Score.absent(reason)
        count = len(originals)
        if count < 2:
            return Score.absent("it takes two images at least", failures=count)
        distance = kernel_distance(
            originals.features(pooled_features), decoded.features(pooled_features)
        )
        return Score.of_set(1000 * distance, count)


class FrechetDistance(Metric):
    """Frechet distance of pooled features.

    Args:
        components: of the originals' principal components that count; None for all dimensions.
    """

    higher_is_better, decimals = False, 1
    packages, extra = PACKAGES, "metrics"

    def __init__(self, components: int | None = COMPONENTS) -> None:
        self.components = components
        part = f",pca{components}" if components else ""
        self.name = self.label = f"rFD[{BACKBONE}@{SIZE}{part}]"

    def score(self, originals: ItemSet, decoded: ItemSet, seed: int = 0) -> Score:
        """One number for the whole set; five images a dimension at least."""
        if reason := self.absence():
            return Score.absent(reason)
        needed = IMAGES_PER_DIMENSION * (self.components or DIMENSIONS)
        count = len(originals)
        if count < needed:
            reason = f"absent: biased with fewer than {needed} images"
            return Score.absent(reason)
        x, y = originals.features(pooled_features), decoded.features(pooled_features)
        if self.components:
            axes = torch.linalg.eigh(x.T.cov()).eigenvectors[:, -self.components :]
            x, y = x @ axes, y @ axes
        return Score.of_set(frechet_distance(x, y), count)


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy under the kernel (x·y / dim + 1)³.

    An item is never compared with itself nor with its own reconstruction, which is no independent
    draw: the distance of a set from itself is 0.
    """
    count, size = x.shape

    def mean(one: Tensor, other: Tensor) -> Tensor:
        kernel = (one @ other.T / size + 1) ** 3
        return (kernel.sum() - kernel.diagonal().sum()) / (count * (count - 1))

    return float(mean(x, x) + mean(y, y) - 2 * mean(x, y))


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """Distance of two normal distributions fitted to x and y, float64 [items, dim] each.

    The trace of the root of the product of the covariances is the sum of the singular values of
    the products of centred items; with fewer items than dimensions that is the smaller matrix.
    """
    a, b = ((one - one.mean(0)) / math.sqrt(len(one) - 1) for one in (x, y))
    if len(a) < a.shape[1]:
        shared = torch.linalg.svdvals(a @ b.T).sum()
    else:
        values, axes = torch.linalg.eigh(a.T @ a)
        root = axes * values.clamp_min(0).sqrt() @ axes.T
        shared = torch.linalg.eigvalsh(root @ (b.T @ b) @ root).clamp_min(0).sqrt().sum()
    apart = (x.mean(0) - y.mean(0)).square().sum()
    return float(apart + a.square().sum() + b.square().sum() - 2 * shared)
