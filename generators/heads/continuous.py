"""What heads of continuous tokens share: their precision, and the width of their noise."""

import torch
from torch import Tensor

from intaglio.generators.inference.logits import Warp


def in_float32(hidden: Tensor) -> torch.autocast:
    """The heads' arithmetic, whatever the precision of the backbone.

    At high noise an error of the network is multiplied many times over on its way to the data, and
    a likelihood is a small difference of large numbers.
    """
    return torch.autocast(hidden.device.type, enabled=False)


def tempered(noise: Tensor, warp: Warp) -> Tensor:
    """Noise [batch, ...] times the temperature of each item; the rest of a warp is for ids."""
    temperature = warp.temperature
    if isinstance(temperature, Tensor):
        temperature = temperature.to(noise).view(-1, *[1] * (noise.dim() - 1))
    return noise * temperature
