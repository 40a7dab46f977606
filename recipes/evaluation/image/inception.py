"""Inception of 2015 as the Frechet distance uses it (Szegedy et al., 2016; Heusel et al., 2017).

The weights are those of the TensorFlow graph ``inception-2015-12-05``, ported to PyTorch in a file
that pytorch-fid and torch-fidelity share and the user has; nothing is fetched. The graph differs
from torchvision's Inception: averages near a border leave the padding out, the pooling of the last
block takes maxima, and there are 1008 classes. Images are brought to 299 pixels as TensorFlow 1
did, bilinear from the upper left corner without a filter against aliasing, and scaled by
(byte - 128) / 128, like torch-fidelity's. (torchmetrics filters by default, which
gives other numbers.)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.losses.pretrained import fill

FILES = (
    "pt_inception-2015-12-05-6726825d.pth",  # pytorch-fid's name
    "weights-inception-2015-12-05-6726825d.pth",  # torch-fidelity's, of the same file
)
DIMENSIONS = 2048
SIZE = 299
BATCH = 32


class Layer(NamedTuple):
    """A convolution of a block: its name, channels, kernel (height, width) and stride.

    With a stride of 1 the size is kept; with 2 the map is not padded.
    """

    name: str
    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1


Step = tuple[Layer, ...]  # convolutions of the same map, side by side
Branch = tuple[Step, ...]


class Convolution(nn.Module):
    """Convolution, batch normalisation with epsilon 0.001, ReLU."""

    def __init__(
        self, channels_in: int, channels: int, *, kernel: tuple[int, int], stride: int, padded: bool
    ) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2) if padded else 0
        self.conv = nn.Conv2d(channels_in, channels, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, channels, height, width]."""
        return F.relu(self.bn(self.conv(x)))


class InceptionBlock(nn.ModuleDict):
    """Branches over the same map, put together along the channels; the last begins with a pooling.

    Args:
        channels: of the map.
        branches: all but the last, from the first step to the last.
        pooled: channels of the convolution after the pooling; 0 for none: maxima with stride 2.
        maxima: the pooling takes maxima, not means; always so with stride 2.
    """

    def __init__(
        self, channels: int, branches: Sequence[Branch], *, pooled: int = 0, maxima: bool = False
    ) -> None:
        super().__init__()
        self.branches = [*branches, ((Layer("branch_pool", pooled),),) if pooled else ()]
        self.stride = 1 if pooled else 2
        self.maxima = maxima or not pooled
        self.channels = 0 if pooled else channels
        for branch in self.branches:
            width = channels
            for step in branch:
                for name, size, kernel, stride in step:
                    padded = stride == 1
                    self[name] = Convolution(
                        width, size, kernel=kernel, stride=stride, padded=padded
                    )
                width = sum(layer.channels for layer in step)
            self.channels += width if branch else 0

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, self.channels, …]."""
        maps = []
        for branch in self.branches:
            y = self._pooled(x) if branch is self.branches[-1] else x
            for step in branch:
                y = torch.cat([self[layer.name](y) for layer in step], 1)
            maps.append(y)
        return torch.cat(maps, 1)

    def _pooled(self, x: Tensor) -> Tensor:
        padding = 1 if self.stride == 1 else 0
        if self.maxima:
            return F.max_pool2d(x, 3, self.stride, padding)
        return F.avg_pool2d(x, 3, self.stride, padding, count_include_pad=False)


class Inception(nn.Module):
    """The network up to its pooled features, frozen.

    Args:
        file: the ported weights.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is another file.
    """

    def __init__(self, file: str | Path) -> None:
        super().__init__()
        layers: list[tuple[str, nn.Module]] = []
        width = 3
        for name, size, kernel, stride, padded in STEM:
            if not name:
                layers.append((f"pool{len(layers)}", nn.MaxPool2d(3, 2)))
                continue
            convolution = Convolution(
                width, size, kernel=(kernel, kernel), stride=stride, padded=padded
            )
            layers.append((name, convolution))
            width = size
        for name, branches, pooled, maxima in BLOCKS:
            block = InceptionBlock(width, branches, pooled=pooled, maxima=maxima)
            layers.append((name, block))
            width = block.channels
        for name, module in layers:
            self.add_module(name, module)
        self.layers = [module for _, module in layers]
        self.fc = nn.Linear(width, 1008)  # unused; distinguishes the file from torchvision's
        fill(self, file, what=f"{FILES[0]}, the same as {FILES[1]}")
        self.eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features, float32 [batch, 2048], of images, uint8 [batch, 3, any, any]."""
        x = (resized(pixels.float()) - 128) / 128
        for layer in self.layers:
            x = layer(x)
        return x.mean((2, 3))

    def features(self, images: Sequence[Tensor]) -> Tensor:
        """Features, float32 [images, 2048] on the CPU, of images uint8 [3, any, any] each."""
        device = self.fc.weight.device
        rows = []
        with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for start in range(0, len(images), BATCH):
                batch = torch.stack(list(images[start : start + BATCH]))
                rows.append(self(batch.to(device)).cpu())
        return torch.cat(rows)


def resized(x: Tensor, size: int = SIZE) -> Tensor:
    """Images [batch, channels, any, any] at size x size pixels, bilinear as in TensorFlow 1.

    Pixel i comes from position i · old / new, counted from the middle of the first pixel.
    """
    for axis in (3, 2):
        old = x.shape[axis]
        positions = torch.arange(size, device=x.device) * torch.tensor(old / size, device=x.device)
        low = positions.long()
        share = positions - low
        first = x.index_select(axis, low)
        second = x.index_select(axis, (low + 1).clamp_max(old - 1))
        x = first + (second - first) * (share if axis == 3 else share.unsqueeze(1))
    return x


def _chain(*layers: Layer) -> Branch:
    return tuple((layer,) for layer in layers)


def _fives(pooled: int) -> tuple[list[Branch], int, bool]:
    """Branches at 35 x 35."""
    branches = [
        _chain(Layer("branch1x1", 64)),
        _chain(Layer("branch5x5_1", 48), Layer("branch5x5_2", 64, (5, 5))),
        _chain(
            Layer("branch3x3dbl_1", 64),
            Layer("branch3x3dbl_2", 96, (3, 3)),
            Layer("branch3x3dbl_3", 96, (3, 3)),
        ),
    ]
    return branches, pooled, False


def _sevens(inner: int) -> tuple[list[Branch], int, bool]:
    """Branches at 17 x 17."""
    row, column = (1, 7), (7, 1)
    branches = [
        _chain(Layer("branch1x1", 192)),
        _chain(
            Layer("branch7x7_1", inner),
            Layer("branch7x7_2", inner, row),
            Layer("branch7x7_3", 192, column),
        ),
        _chain(
            Layer("branch7x7dbl_1", inner),
            Layer("branch7x7dbl_2", inner, column),
            Layer("branch7x7dbl_3", inner, row),
            Layer("branch7x7dbl_4", inner, column),
            Layer("branch7x7dbl_5", 192, row),
        ),
    ]
    return branches, 192, False


def _forked(maxima: bool) -> tuple[list[Branch], int, bool]:
    """Branches at 8 x 8, two of which end in a row and a column side by side."""

    def fork(name: str) -> Step:
        return Layer(f"{name}a", 384, (1, 3)), Layer(f"{name}b", 384, (3, 1))

    branches: list[Branch] = [
        _chain(Layer("branch1x1", 320)),
        ((Layer("branch3x3_1", 384),), fork("branch3x3_2")),
        (
            (Layer("branch3x3dbl_1", 448),),
            (Layer("branch3x3dbl_2", 384, (3, 3)),),
            fork("branch3x3dbl_3"),
        ),
    ]
    return branches, 192, maxima


# Name ("" for a pooling), channels, kernel, stride, whether the size is kept.
STEM = (
    ("Conv2d_1a_3x3", 32, 3, 2, False),
    ("Conv2d_2a_3x3", 32, 3, 1, False),
    ("Conv2d_2b_3x3", 64, 3, 1, True),
    ("", 0, 0, 0, False),
    ("Conv2d_3b_1x1", 80, 1, 1, True),
    ("Conv2d_4a_3x3", 192, 3, 1, False),
    ("", 0, 0, 0, False),
)
_SMALLER: dict[str, list[Branch]] = {  # blocks that halve the map
    "Mixed_6a": [
        _chain(Layer("branch3x3", 384, (3, 3), 2)),
        _chain(
            Layer("branch3x3dbl_1", 64),
            Layer("branch3x3dbl_2", 96, (3, 3)),
            Layer("branch3x3dbl_3", 96, (3, 3), 2),
        ),
    ],
    "Mixed_7a": [
        _chain(Layer("branch3x3_1", 192), Layer("branch3x3_2", 320, (3, 3), 2)),
        _chain(
            Layer("branch7x7x3_1", 192),
            Layer("branch7x7x3_2", 192, (1, 7)),
            Layer("branch7x7x3_3", 192, (7, 1)),
            Layer("branch7x7x3_4", 192, (3, 3), 2),
        ),
    ],
}
# Name, branches, channels after the pooling, whether that takes maxima.
BLOCKS: tuple[tuple[str, Sequence[Branch], int, bool], ...] = (
    ("Mixed_5b", *_fives(32)),
    ("Mixed_5c", *_fives(64)),
    ("Mixed_5d", *_fives(64)),
    ("Mixed_6a", _SMALLER["Mixed_6a"], 0, True),
    ("Mixed_6b", *_sevens(128)),
    ("Mixed_6c", *_sevens(160)),
    ("Mixed_6d", *_sevens(160)),
    ("Mixed_6e", *_sevens(192)),
    ("Mixed_7a", _SMALLER["Mixed_7a"], 0, True),
    ("Mixed_7b", *_forked(False)),
    ("Mixed_7c", *_forked(True)),
)
