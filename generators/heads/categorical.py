"""One id of one codebook: logits, cross-entropy, a draw."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.generators.heads.base import Head
from intaglio.generators.samplers.draws import Draws, Role
from intaglio.generators.samplers.warp import PLAIN, Warp, draw


class CategoricalHead(Head):
    """A linear map to logits, zero at the start: the first loss is the log of the codebook's size.

    Args:
        dim: size of a hidden vector.
        vocab: size of the codebook.
        smoothing: of the labels, in the loss only (Szegedy et al., 2016).
        z_loss: weight of the squared log-sum of the exponentials (PaLM; Chowdhery et al., 2022).
    """

    width = 1
    tractable = True

    def __init__(
        self, dim: int, vocab: int, *, smoothing: float = 0.0, z_loss: float = 0.0
    ) -> None:
        super().__init__()
        self.dim, self.vocab = dim, vocab
        self.smoothing, self.z_loss = smoothing, z_loss
        self.linear = nn.Linear(dim, vocab, bias=False)
        nn.init.zeros_(self.linear.weight)

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., dim] → float32 [..., vocab]."""
        return self.linear(hidden).float()

    def loss(self, hidden: Tensor, token: Tensor) -> Tensor:
        """Cross-entropy; see `Head.loss`."""
        logits = self.logits(hidden)
        loss = F.cross_entropy(
            logits, token[:, 0], reduction="none", label_smoothing=self.smoothing
        )
        if self.z_loss:
            loss = loss + self.z_loss * logits.logsumexp(-1).square()
        return loss

    def log_prob(self, hidden: Tensor, token: Tensor) -> Tensor:
        """See `Head.log_prob`."""
        return -F.cross_entropy(self.logits(hidden), token[:, 0], reduction="none")

    def sample(
        self,
        hidden: Tensor,
        draws: Draws,
        *,
        null: Tensor | None = None,
        weight: float | Tensor = 1.0,
        warp: Warp = PLAIN,
    ) -> Tensor:
        """Draw ids by guided logits; see `Head.sample`."""
        logits = guided(self.logits(hidden), None if null is None else self.logits(null), weight)
        return draw(warp(logits), draws.uniform(Role.TOKEN)[..., 0]).unsqueeze(-1)


def guided(value: Tensor, null: Tensor | None, weight: float | Tensor) -> Tensor:
    """null + weight * (value - null); the value itself, to the bit, where the weight is 1.

    Args:
        value: [batch, ...].
        null: of the same shape, or None for no guidance.
        weight: float, or float [batch].
    """
    if null is None:
        return value
    weight = torch.as_tensor(weight, dtype=value.dtype, device=value.device)
    weight = weight.view(-1, *[1] * (value.dim() - 1))
    return torch.where(weight == 1, value, null + weight * (value - null))
