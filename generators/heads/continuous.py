"""Shared by heads of continuous tokens: their precision and the temperature of their noise."""

import torch
from torch import Tensor

from intaglio.generators.inference.logits import Warp


def in_float32(hidden: Tensor) -> torch.autocast:
    """A context without autocast, whatever the precision of the backbone.

    At high noise an error of the network is amplified many times on the way to the data, and a
    likelihood is a small difference of large numbers.
    """
    return torch.autocast(hidden.device.type, enabled=False)


def tempered(noise: Tensor, warp: Warp) -> Tensor:
    """Noise [batch, ...] times the temperature of each item; truncation applies to ids only."""
    temperature = warp.temperature
    if isinstance(temperature, Tensor):
        temperature = temperature.to(noise).view(-1, *[1] * (noise.dim() - 1))
    return noise * temperature
