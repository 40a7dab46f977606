"""Temperature of a continuous law: how wide its noise is."""

from torch import Tensor

from intaglio.generators.samplers.warp import Warp


def tempered(noise: Tensor, warp: Warp) -> Tensor:
    """Noise [batch, ...] times the temperature of each item; the rest of a warp is for ids."""
    temperature = warp.temperature
    if isinstance(temperature, Tensor):
        temperature = temperature.to(noise).view(-1, *[1] * (noise.dim() - 1))
    return noise * temperature
