"""Approximate memory that an image of any size takes to encode, compared with what is free.

The widest module of a small image is measured, with its inputs and outputs. Attention over the
whole grid, which grows with the square of the size, is not counted.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from intaglio.codecs import ImageCodec

UNCHECKED = 1 << 22  # pixels; smaller images are encoded without a measurement
SIDE = 64  # of the image that is measured, at least
WORKSPACE = 2.5  # copies of convolutions, skip connections; measured on three codecs


def check_memory(codec: ImageCodec, height: int, width: int) -> None:
    """Compare an estimate with the free memory of the system, where that is known.

    Raises:
        ValueError: encoding an image of this size would take more.
    """
    free = free_memory()
    on_cpu = next(codec.parameters()).device.type == "cpu"  # other devices refuse by themselves
    if free is None or not on_cpu or height * width <= UNCHECKED:
        return
    needed = height * width * bytes_per_pixel(codec)
    if needed > free:
        raise ValueError(
            f"{height} x {width} pixels take about {needed / 2**30:.1f} GiB to encode with "
            f"{codec.name}, and {free / 2**30:.1f} GiB of memory are free; make the image smaller"
        )


def bytes_per_pixel(codec: ImageCodec) -> float:
    """Approximate memory that a codec of any size takes for each pixel when it encodes."""
    side = -(-SIDE // codec.hop_length) * codec.hop_length
    widest = 0

    def measure(module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal widest
        values = [*inputs, output]
        widest = max(widest, sum(x.nbytes for x in values if isinstance(x, Tensor)))

    hooks = [module.register_forward_hook(measure) for module in codec.modules()]
    try:
        parameter = next(codec.parameters())
        codec.encode(torch.zeros(1, 3, side, side, device=parameter.device))
    finally:
        for hook in hooks:
            hook.remove()
    return WORKSPACE * widest / side**2


def free_memory() -> int | None:
    """Bytes that the system can give without swapping; None where it does not say."""
    path = Path("/proc/meminfo")
    if not path.exists():
        return None
    found = path.read_text(encoding="ascii").partition("MemAvailable:")[2].split()
    return int(found[0]) * 1024 if found else None
