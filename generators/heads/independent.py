"""Heads whose groups of ids are independent of each other, given the hidden vector."""

from collections.abc import Sequence

import torch
from torch import Tensor

from intaglio.generators.conditioning.guidance import guided
from intaglio.generators.heads.base import Head, SamplingOptions
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.inference.logits import draw


class IndependentHead(Head):
    """Base of heads that know the whole distribution of every group of a token."""

    def logits(self, hidden: Tensor) -> Sequence[Tensor]:
        """Log-probabilities of each group but for a constant, float32 [..., vocab].

        Args:
            hidden: [..., dim].
        """
        raise NotImplementedError

    def distribution(self, hidden: Tensor, options: SamplingOptions) -> list[Tensor]:
        """What `sample` draws from: log-probabilities of each group, guided, then warped, float32
        [batch, positions, vocab].

        Args:
            hidden: [batch, positions, dim].
            options: guidance and warp.
        """
        if options.null is None:
            return [options.warp(logits) for logits in self.logits(hidden)]
        both = self.logits(torch.cat([hidden, options.null]))  # the weights are read once
        found = []
        for logits in both:
            conditional, null = logits.chunk(2)
            found.append(options.warp(guided(conditional, null, options.scale)))
        return found

    def _draw(self, hidden: Tensor, draws: Draws, options: SamplingOptions) -> Tensor:
        """An id of each group, each by a race of its own; see `Head.sample`."""
        return drawn(self.distribution(hidden, options), draws)


def race(log_probs: list[Tensor], keys: Tensor) -> Tensor:
    """Ids of all groups, int64 [batch, positions, groups].

    Args:
        log_probs: [batch, positions, vocab] of each group.
        keys: int64 [batch, positions, groups]; see `draw`.
    """
    pairs = zip(log_probs, keys.unbind(-1), strict=True)
    return torch.stack([draw(one, key) for one, key in pairs], dim=-1)


def drawn(log_probs: list[Tensor], draws: Draws, role: Role = Role.TOKEN) -> Tensor:
    """As `race`, by the numbers of these positions, which may be known already."""
    numbers = draws.gumbels(role, tuple(one.shape[-1] for one in log_probs))
    pairs = zip(log_probs, numbers, strict=True)
    return torch.stack([(one + some).argmax(-1) for one, some in pairs], dim=-1)
