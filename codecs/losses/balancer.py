"""Balancer (EnCodec; Défossez et al., 2022): weights as shares of the gradient, not of the loss.

The gradient of each loss at the decoded signal is divided by a running mean of its size, so a
weight says which share of the gradient a loss has, however large the loss itself is.
"""

from typing import Any

import torch
from torch import Tensor

from intaglio.codecs.layers.distributed import rank_and_size, summed
from intaglio.codecs.part import Part


class Balancer(Part):
    """Joins the losses that depend on the decoded signal.

    Args:
        decay: of the running means.
        size: of the joined gradient, as a mean over the items.
    """

    def __init__(self, decay: float = 0.999, size: float = 1.0) -> None:
        super().__init__()
        self.decay = decay
        self.size = size
        self.sums: dict[str, Tensor] = {}  # decaying sums of gradient sizes, by loss
        self.count = 0.0  # decaying number of steps, which makes means of them

    def forward(
        self, losses: dict[str, Tensor], weights: dict[str, float], output: Tensor
    ) -> Tensor:
        """Scalar whose gradient at ``output`` is the balanced one; its value says nothing.

        Args:
            losses: scalars that depend on ``output``.
            weights: share of each loss, before they are made to add up to one.
            output: decoded signal, [batch, channels, samples].
        """
        gradients = {
            name: torch.autograd.grad(loss, output, retain_graph=True)[0]
            for name, loss in losses.items()
        }
        means = self._means({name: g.flatten(1).norm(dim=1) for name, g in gradients.items()})
        total = sum(weights[name] for name in losses)
        joined = torch.zeros_like(output)
        for name, gradient in gradients.items():
            share = self.size * weights[name] / total
            joined += share / (means[name] + 1e-12) * gradient
        return (output * joined.detach()).sum()

    def get_extra_state(self) -> dict[str, Any]:
        """The running means, for checkpoints."""
        return {"sums": self.sums, "count": self.count}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on from the running means of a checkpoint."""
        self.sums, self.count = dict(state["sums"]), state["count"]

    def _means(self, norms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Running means of gradient sizes, of the items of all processes."""
        now = summed(torch.stack([norm.mean() for norm in norms.values()])) / rank_and_size()[1]
        if bool(now.isfinite().all()):  # else the step is skipped, and the means would be lost
            self.count = self.decay * self.count + 1
            for name, size in zip(norms, now, strict=True):
                self.sums[name] = self.decay * self.sums.get(name, torch.zeros_like(size)) + size
        return {
            name: self.sums[name] / self.count if name in self.sums else size
            for name, size in zip(norms, now, strict=True)
        }
