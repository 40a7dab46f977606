"""Features of pictures by the name of a network, for the distances and probes of generators."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from intaglio.recipes.evaluation.image import inception
from intaglio.recipes.evaluation.image.features import BACKBONE, PACKAGES, SIZE, pooled_features
from intaglio.recipes.evaluation.image.inception import Inception
from intaglio.recipes.evaluation.image.published_metrics import weights_file
from intaglio.recipes.evaluation.items import Features
from intaglio.recipes.evaluation.scores import missing_packages

NETWORKS = ("effnet-lite0", "inception", "pixels")
SIDE = 16  # of a picture whose pixels are the features


class FeatureExtractor(NamedTuple):
    """A function from pictures to features, with a name.

    Attributes:
        label: in the names of metrics.
        extract: gives features, float64 [pictures, dim], of pictures uint8 [3, height, width] each.
    """

    label: str
    extract: Features


def feature_extractor(
    name: str, *, inception_file: str | None = None, device: torch.device | str = "cpu"
) -> FeatureExtractor:
    """An extractor by the name of its network, one of `NETWORKS`.

    Args:
        name: ``effnet-lite0`` comes inside a package, ``inception`` is that of published distances,
            ``pixels`` are the pictures themselves, averaged to 16 pixels a side.
        inception_file: its weights; if None, those of torch.hub's folder.
        device: where Inception runs.

    Raises:
        ValueError: an unknown name, a wrong file, or none.
        ModuleNotFoundError: the package is not installed.
    """
    if name not in NETWORKS:
        raise ValueError(f"features are of {', '.join(NETWORKS)}, not of {name!r}")
    if name == "pixels":
        return FeatureExtractor(f"pixels@{SIDE}", small_pixels)
    if name == "inception":
        file = weights_file("inception", inception_file, inception.FILES)
        if file is None:
            raise ValueError("features of inception need its weights: give --inception FILE")
        network = Inception(file).to(device)
        return FeatureExtractor("inception", lambda images: network.features(images).double())
    if missing := missing_packages(PACKAGES):
        raise ModuleNotFoundError(
            f"features of {BACKBONE} need {', '.join(missing)}: pip install 'intaglio[metrics]', "
            "or take --features pixels"
        )
    return FeatureExtractor(f"{BACKBONE}@{SIZE}", pooled_features)


def small_pixels(images: Sequence[Tensor]) -> Tensor:
    """Means of the squares of a picture, in [0, 1], float64 [pictures, 3 * 16 * 16]."""
    values = [F.adaptive_avg_pool2d(one.double() / 255, min(SIDE, one.shape[1])) for one in images]
    return torch.stack(values).flatten(1)
