"""LPIPS (Zhang et al., 2018): VGG-16's features, weighted to agree with human judgement.

The network is VGG-16 (Simonyan and Zisserman, 2015) with torchvision's ImageNet weights, whose file
the user has: it is named, or lies in the folder of torch.hub. The weights of the channels, version
0.1 of the authors, come inside torchmetrics. Images keep their size. Differs from the release in
the term that keeps the root from 0: 1e-10 is added to the squares, not to their root.
"""

import importlib.util
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from intaglio.codecs.losses.perceptual import FeatureNetwork, PerceptualLoss
from intaglio.codecs.losses.pretrained import fill, hub_folder, kept

FILE = "vgg16-397923af.pth"  # torchvision's name; it ends in the first digits of the SHA-256
CHANNELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
MIN_SIDE = 16  # four poolings
SHIFT = (-0.030, -0.088, -0.188)  # ImageNet's mean and standard deviation, of values in [-1, 1]
SCALE = (0.458, 0.448, 0.450)


class VGG16(FeatureNetwork):
    """The convolutions of VGG-16, frozen; its maps before each pooling and at the end.

    Args:
        file: torchvision's ``vgg16-397923af.pth``; if None, that of torch.hub's folder.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: it is another file.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, file: str | None = None) -> None:
        super().__init__()
        sizes = [3, *(size for stage in CHANNELS for size in stage)]
        pairs = pairwise(sizes)
        layers: list[nn.Module] = []
        taps = []
        for stage in CHANNELS:
            layers += [nn.MaxPool2d(2)] if layers else []
            for _ in stage:
                layers += [nn.Conv2d(*next(pairs), 3, padding=1), nn.ReLU()]
            taps.append(len(layers) - 1)
        self.features = nn.Sequential(*layers)  # named and numbered as torchvision's
        self.taps = tuple(taps)
        named = nn.ModuleDict({"features": self.features})
        fill(named, vgg_file(file), what=f"torchvision's {FILE}")
        self.register_buffer("shift", torch.tensor(SHIFT).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.train(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps [batch, channels, …] of images [batch, 3, height, width] in [-1, 1].

        Raises:
            ValueError: a side is shorter than 16 pixels.
        """
        if min(x.shape[-2:]) < MIN_SIDE:
            raise ValueError(f"LPIPS needs sides of {MIN_SIDE} pixels, got {list(x.shape[-2:])}")
        x = (x - self.shift) / self.scale
        features = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self.taps:
                features.append(x)
        return features


class LPIPS(PerceptualLoss):
    """Learned perceptual distance on VGG-16; 0 for equal images.

    Args:
        file: torchvision's ``vgg16-397923af.pth``; if None, that of torch.hub's folder.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: it is another file.
        ModuleNotFoundError: torchmetrics, which brings the weights of the channels, is missing.
    """

    loadable = False

    def __init__(self, file: str | None = None) -> None:
        super().__init__(VGG16(file), weights=channel_weights())


def vgg_file(file: str | None = None) -> Path:
    """The file of VGG-16's weights.

    Raises:
        FileNotFoundError: none is named, and there is none in torch.hub's folder.
    """
    found = Path(file) if file else kept([FILE])
    if found is None:
        raise FileNotFoundError(
            f"{hub_folder() / FILE} does not exist; LPIPS needs torchvision's file of that name: "
            "put it there, or name it"
        )
    return found


def channel_weights() -> list[list[float]]:
    """Weight of each channel of each of VGG-16's maps, as LPIPS 0.1 learned them.

    Raises:
        ModuleNotFoundError: torchmetrics, which brings them, is missing.
        ValueError: it brings others.
    """
    package = importlib.util.find_spec("torchmetrics")  # importing it takes seconds
    if package is None or package.origin is None:
        raise ModuleNotFoundError("the weights of LPIPS come inside torchmetrics: pip install it")
    file = Path(package.origin).parent / "functional/image/lpips_models/vgg.pth"
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        return [content[f"lin{number}.model.1.weight"].flatten().tolist() for number in range(5)]
    except Exception as error:  # another version of torchmetrics, or a damaged one
        raise ValueError(
            f"{file} does not hold the weights of LPIPS 0.1: install torchmetrics again"
        ) from error
