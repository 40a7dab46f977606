"""How strong guidance is at each step, in one form: null + scale * (with - null).

Scale 1 means none. Published schedules that are given otherwise are converted: VAR's S and TiTok's
S are scales of 1 + S.
"""

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

Schedule = Literal["constant", "linear", "cosine", "half"]


class Guidance(NamedTuple):
    """Scale of the condition (classifier-free guidance; Ho and Salimans, 2022).

    Attributes:
        scale: the largest scale; 1 for none.
        schedule: ``constant``; ``linear`` from 1 to the scale (MAR, VAR); ``cosine``, which rises
            by half a period of a cosine (RAR); ``half``, linear over the first half and then
            constant (Token-Shuffle).
        power: of the time within ``cosine``; 0 makes it constant.
    """

    scale: float = 1.0
    schedule: Schedule = "constant"
    power: float = 1.0

    def at(self, time: float) -> float:
        """Scale at a time in [0, 1]: 0 at the first step, 1 at the last."""
        match self.schedule:
            case "linear":
                share = time
            case "cosine":
                share = (1 - math.cos(math.pi * time**self.power)) / 2
            case "half":
                share = min(1.0, 2 * time)
            case _:
                return self.scale
        return 1 + (self.scale - 1) * share

    def check(self) -> None:
        """Refuse what is no guidance.

        Raises:
            ValueError: a scale that is not finite or below 0, an unknown schedule.
        """
        if not math.isfinite(self.scale) or self.scale < 0:
            raise ValueError(f"a guidance scale is 0 or above, got {self.scale}")
        if self.schedule not in get_args(Schedule):
            raise ValueError(
                f"schedules are {', '.join(get_args(Schedule))}, not {self.schedule!r}"
            )


def guided(value: Tensor, null: Tensor | None, scale: float | Tensor) -> Tensor:
    """null + scale * (value - null); the value itself, to the bit, where the scale is 1.

    Args:
        value: [batch, ...].
        null: of the same shape, or None for no guidance.
        scale: float, or float [batch] or [batch, positions].
    """
    if null is None:
        return value
    if not isinstance(scale, Tensor):  # nothing is sent to the device
        return value if scale == 1 else null + scale * (value - null)
    scale = scale.to(value)
    scale = scale.view(*scale.shape, *[1] * (value.dim() - scale.dim()))
    return torch.where(scale == 1, value, null + scale * (value - null))
