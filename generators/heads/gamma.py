"""Gamma-distributed numbers from uniform ones, one number each, without rejection sampling."""

import torch
from torch import Tensor

STEPS = 5  # of Newton's method; they reach the precision of the incomplete gamma function


def gamma_quantile(shape: Tensor, uniform: Tensor) -> Tensor:
    """Inverse of the cumulative distribution function of Gamma(shape, 1), float64.

    Newton's method on the log of the function below the median and of its complement above it.
    Both are concave in the log of their argument, so after the first step the iterates approach the
    root from one side. The initial value is the approximation of Wilson and Hilferty (1931), or
    the leading term of the series where that is larger.

    Args:
        shape: at least 1, any float type.
        uniform: float64 of the same shape, in (0, 1).
    """
    shape = shape.double()
    upper = uniform > 0.5
    target = torch.where(upper, (-uniform).log1p(), uniform.log())
    spread = 1 / (9 * shape)
    cube = 1 - spread + torch.special.ndtri(uniform) * spread.sqrt()
    least = (uniform.log() + torch.lgamma(shape + 1)) / shape  # a lower bound
    x = torch.maximum(3 * cube.clamp(min=1e-3).log() + shape.log(), least)
    for _ in range(STEPS):
        point = x.exp()
        above, below = torch.special.gammaincc(shape, point), torch.special.gammainc(shape, point)
        value = torch.where(upper, above, below).log()
        slope = (shape * x - point - torch.lgamma(shape) - value).exp()
        x = x - (value - target) / torch.where(upper, -slope, slope)
    return x.exp()
