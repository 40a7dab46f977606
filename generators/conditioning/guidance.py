"""How strong guidance is at each step, in one form: null + weight * (with - null).

Weight 1 means none. Published schedules that are told otherwise are converted: VAR's S and TiTok's
S are weights of 1 + S.
"""

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

Schedule = Literal["constant", "linear", "cosine", "half"]


class Guidance(NamedTuple):
    """Weight of the condition (classifier-free guidance; Ho and Salimans, 2022).

    Attributes:
        weight: the largest weight; 1 for none.
        schedule: ``constant``; ``linear`` from 1 to the weight (MAR, VAR); ``cosine``, which rises
            by half a period of a cosine (RAR); ``half``, linear over the first half and then
            constant (Token-Shuffle).
        power: of the time within ``cosine``; 0 makes it constant.
    """

    weight: float = 1.0
    schedule: Schedule = "constant"
    power: float = 1.0

    def at(self, time: float) -> float:
        """Weight at a time in [0, 1]: 0 at the first step, 1 at the last."""
        match self.schedule:
            case "linear":
                share = time
            case "cosine":
                share = (1 - math.cos(math.pi * time**self.power)) / 2
            case "half":
                share = min(1.0, 2 * time)
            case _:
                return self.weight
        return 1 + (self.weight - 1) * share

    def check(self) -> None:
        """Refuse what is no guidance.

        Raises:
            ValueError: a weight that is not finite or below 0, a schedule that there is not.
        """
        if not math.isfinite(self.weight) or self.weight < 0:
            raise ValueError(f"a weight of guidance is 0 or above, got {self.weight}")
        if self.schedule not in get_args(Schedule):
            raise ValueError(
                f"schedules are {', '.join(get_args(Schedule))}, not {self.schedule!r}"
            )


def guided(value: Tensor, null: Tensor | None, weight: float | Tensor) -> Tensor:
    """null + weight * (value - null); the value itself, to the bit, where the weight is 1.

    Args:
        value: [batch, ...].
        null: of the same shape, or None for no guidance.
        weight: float, or float [batch].
    """
    if null is None:
        return value
    if not isinstance(weight, Tensor):  # nothing is sent to the device
        return value if weight == 1 else null + weight * (value - null)
    weight = weight.to(value)
    weight = weight.view(-1, *[1] * (value.dim() - 1))
    return torch.where(weight == 1, value, null + weight * (value - null))
