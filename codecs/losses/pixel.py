"""Distances of pixels: absolute, squared, and structural similarity."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from intaglio.codecs.losses.base import ReconstructionLoss


class PixelLoss(ReconstructionLoss):
    """Mean over all values of the difference.

    Args:
        kind: ``l1``, ``l2`` (squared), or ``charbonnier``, which is l1 rounded off at zero.
        eps: size of the rounding.
    """

    def __init__(
        self, kind: Literal["l1", "l2", "charbonnier"] = "l1", *, eps: float = 1e-3
    ) -> None:
        super().__init__()
        self.kind = kind
        self.eps = eps

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Scalar distance of images [batch, channels, height, width]."""
        if self.kind == "l1":
            return F.l1_loss(output, target)
        if self.kind == "l2":
            return F.mse_loss(output, target)
        return ((output - target).square() + self.eps**2).sqrt().mean()


class SSIMLoss(ReconstructionLoss):
    """1 - structural similarity (Wang et al., 2004) of images in [-1, 1].

    A Gaussian window of 11 pixels, standard deviation 1.5, only where it lies inside the image.
    """

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        gauss = torch.exp(-(torch.arange(-5.0, 6.0) ** 2) / (2 * 1.5**2))
        self.register_buffer("window", gauss / gauss.sum(), persistent=False)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Scalar distance of images [batch, channels, height, width], sides of 11 at least."""
        return 1 - ssim(output, target, self.window, data_range=2.0).mean()


def ssim(a: Tensor, b: Tensor, window: Tensor, *, data_range: float) -> Tensor:
    """Structural similarity of each image, [batch]: mean over channels and positions.

    Args:
        a: images, [batch, channels, height, width].
        b: of the same shape.
        window: weights of the window's rows and columns, which sum to 1.
        data_range: difference of the largest and the smallest possible value.
    """
    low, high = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    stack = torch.cat([a, b, a * a, b * b, a * b])
    mean_a, mean_b, aa, bb, ab = _blurred(stack, window).chunk(5)
    similar = (2 * mean_a * mean_b + low) * (2 * (ab - mean_a * mean_b) + high)
    size = (mean_a**2 + mean_b**2 + low) * (aa - mean_a**2 + bb - mean_b**2 + high)
    return (similar / size).mean((1, 2, 3))


def _blurred(x: Tensor, window: Tensor) -> Tensor:
    flat = x.flatten(0, 1).unsqueeze(1)
    flat = F.conv2d(F.conv2d(flat, window.view(1, 1, 1, -1)), window.view(1, 1, -1, 1))
    return flat.view(*x.shape[:2], *flat.shape[2:])
