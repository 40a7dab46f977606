"""Temperature, top-k and top-p: the one module that warps a categorical distribution."""

from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.generators.inference.counter_rng import gumbel


class Warp(NamedTuple):
    """How a distribution is sharpened, in this order.

    Attributes:
        temperature: above 0; float, or float [batch] for one of each item. 1 changes nothing.
        top_k: keep the k likeliest ids, and those as likely as the k-th; 0 keeps all.
        top_p: keep the likeliest ids until their probability reaches it, at least one
            (Holtzman et al., 2020); 1 keeps all.
    """

    temperature: float | Tensor = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def check(self) -> None:
        """Refuse values out of range.

        Raises:
            ValueError: a temperature not above 0, a negative ``top_k``, ``top_p`` not in (0, 1].
        """
        temperature = torch.as_tensor(self.temperature)
        if not bool((temperature > 0).all()) or not bool(temperature.isfinite().all()):
            raise ValueError(f"a temperature is above 0, got {self.temperature}")
        if self.top_k < 0:
            raise ValueError(f"top_k is 0 for all ids or a number of ids, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is above 0 and at most 1, got {self.top_p}")

    def __call__(self, logits: Tensor) -> Tensor:
        """Log-probabilities after warping, float32 [batch, ..., vocab]; -inf for ids left out.

        Args:
            logits: [batch, ..., vocab]; not changed.
        """
        temperature = self.temperature
        if isinstance(temperature, Tensor):
            temperature = temperature.view(-1, *[1] * (logits.dim() - 1))
        warped = logits.float() / temperature
        if 0 < self.top_k < warped.shape[-1]:
            least = warped.topk(self.top_k, dim=-1).values[..., -1:]
            warped = warped.masked_fill(warped < least, -torch.inf)
        if self.top_p < 1:
            ranked, order = warped.sort(dim=-1, descending=True, stable=True)
            shares = ranked.softmax(-1)
            before = shares.cumsum(-1) - shares
            dropped = torch.zeros_like(before, dtype=torch.bool)
            dropped = dropped.scatter(-1, order, before >= self.top_p)
            warped = warped.masked_fill(dropped, -torch.inf)
        return warped.log_softmax(-1)


PLAIN = Warp()


def draw(log_probs: Tensor, keys: Tensor) -> Tensor:
    """Ids by a Gumbel race (Maddison et al., 2014), int64 [...].

    Logits that differ by rounding give another id about as often as the distributions differ (their
    total variation), where an inverted distribution function adds up the rounding of all ids.

    Args:
        log_probs: float32 [..., vocab]; an id at -inf is never drawn.
        keys: int64 [...], of random bits; equal keys give equal numbers to each id.
    """
    return (log_probs + gumbel(keys, log_probs.shape[-1])).argmax(-1)
