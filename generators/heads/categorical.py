"""Independent categorical distributions over the ids of a token: logits and cross-entropy.

Several groups are levels of FSQ, bits, or levels of an RVQ. The model is exact where the groups of
a token are independent given the hidden vector, as with delayed levels (MusicGen; Copet et al.,
2023). Otherwise `DepthHead` models their joint distribution, and this head only its marginals.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.generators.heads.base import IGNORED
from intaglio.generators.heads.independent import IndependentHead


class CategoricalHead(IndependentHead):
    """A linear map to the logits of all groups, initialised to zero.

    The initial loss is the sum of the logs of the codebook sizes.

    Args:
        dim: size of a hidden vector.
        vocab: size of the codebook of each group.
        smoothing: label smoothing, in the loss only (Szegedy et al., 2016).
        z_loss: weight of the squared log-sum-exp of the logits (PaLM; Chowdhery et al., 2022).

    Raises:
        ValueError: no group, or one of fewer than 2 ids.
    """

    tractable = True
    can_end = True

    def __init__(
        self, dim: int, vocab: Sequence[int], *, smoothing: float = 0.0, z_loss: float = 0.0
    ) -> None:
        super().__init__()
        check_groups(vocab)
        self.dim, self.vocab, self.width = dim, tuple(vocab), len(vocab)
        self.smoothing, self.z_loss = smoothing, z_loss
        self.linear = nn.Linear(dim, sum(vocab), bias=False)
        nn.init.zeros_(self.linear.weight)

    def logits(self, hidden: Tensor) -> tuple[Tensor, ...]:
        """[..., dim] → float32 [..., vocab] for each group."""
        return self.linear(hidden).float().split(self.vocab, dim=-1)

    def loss(self, hidden: Tensor, token: Tensor) -> Tensor:
        """Sum of the groups' cross-entropies; see `Head.loss`."""
        loss = hidden.new_zeros(len(hidden), dtype=torch.float32)
        for logits, ids in zip(self.logits(hidden), token.unbind(1), strict=True):
            loss = loss + F.cross_entropy(
                logits,
                ids,
                reduction="none",
                label_smoothing=self.smoothing,
                ignore_index=IGNORED,
            )
            if self.z_loss:
                loss = loss + self.z_loss * logits.logsumexp(-1).square() * (ids != IGNORED)
        return loss

    def log_prob(self, hidden: Tensor, token: Tensor) -> Tensor:
        """See `Head.log_prob`."""
        return summed_log_prob(self.logits(hidden), token)


def check_groups(vocab: Sequence[int]) -> None:
    """Check the codebook sizes of a token.

    Raises:
        ValueError: no group, or one of fewer than 2 ids.
    """
    if not vocab or min(vocab) < 2:
        raise ValueError(f"a token has at least one group, each of at least 2 ids, got {vocab}")


def summed_log_prob(logits: Sequence[Tensor], token: Tensor) -> Tensor:
    """Log-probability of the ids of all groups but those `IGNORED`, in nats, float32 [tokens].

    Args:
        logits: [tokens, vocab] for each group.
        token: int64 [tokens, groups].
    """
    return -torch.stack(
        [
            F.cross_entropy(one, ids, reduction="none", ignore_index=IGNORED)
            for one, ids in zip(logits, token.unbind(1), strict=True)
        ]
    ).sum(0)
