"""Gamma-distributed numbers from uniform ones, so that a draw uses one number and no rejection."""

import torch
from torch import Tensor

STEPS = 5  # of Newton's method; they reach the precision of the incomplete gamma function


def gamma_quantile(shape: Tensor, uniform: Tensor) -> Tensor:
    """Inverse of the distribution function of Gamma(shape, 1), float64.

    Newton's method for the log of the function below the median and of its complement above it.
    Both are concave in the log of their argument, so that after one step all others come from one
    side. It starts from the approximation of Wilson and Hilferty (1931), or from the leading term
    where that is too low.

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
