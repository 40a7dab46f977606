"""Heads whose groups of ids are independent of each other, given the hidden vector."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from intaglio.generators.conditioning.guidance import guided
from intaglio.generators.heads.base import Head, SamplingOptions
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.inference.kernels.drawing import is_fused
from intaglio.generators.inference.logits import PLAIN, draw


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
        return [_warped(*pair, options) for pair in self._pairs(hidden, options)]

    def _draw(self, hidden: Tensor, draws: Draws, options: SamplingOptions) -> Tensor:
        """An id of each group, each by a race of its own; see `Head.sample`."""
        if not is_fused(hidden.device, *self.vocab):
            return drawn(self.distribution(hidden, options), draws)
        from intaglio.generators.inference.kernels import races

        keys = draws.keys(Role.TOKEN, len(self.vocab)).unbind(-1)
        pairs = zip(self._pairs(hidden, options), keys, strict=True)
        found = [races.draw(*both, options.scale, options.warp, key) for both, key in pairs]
        return torch.stack(found, dim=-1)

    def _pairs(
        self, hidden: Tensor, options: SamplingOptions
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Logits of each group, with and without the condition."""
        if options.null is None:
            yield from ((logits, None) for logits in self.logits(hidden))
        else:
            for both in self.logits(torch.cat([hidden, options.null])):  # weights are read once
                conditional, null = both.chunk(2)
                yield conditional, null


def _warped(logits: Tensor, null: Tensor | None, options: SamplingOptions) -> Tensor:
    """Log-probabilities of a group, guided, then warped."""
    if is_fused(logits.device, logits.shape[-1]):
        from intaglio.generators.inference.kernels import races

        return races.distribution(logits, null, options.scale, options.warp)
    return options.warp(guided(logits, null, options.scale))


def race(log_probs: list[Tensor], keys: Tensor) -> Tensor:
    """Ids of all groups, int64 [batch, positions, groups].

    Args:
        log_probs: [batch, positions, vocab] of each group.
        keys: int64 [batch, positions, groups]; see `draw`.
    """
    pairs = zip(log_probs, keys.unbind(-1), strict=True)
    if is_fused(keys.device, *(one.shape[-1] for one in log_probs)):
        from intaglio.generators.inference.kernels import races

        return torch.stack([races.draw(one, None, 1.0, PLAIN, key) for one, key in pairs], dim=-1)
    return torch.stack([draw(one, key) for one, key in pairs], dim=-1)


def drawn(log_probs: list[Tensor], draws: Draws, role: Role = Role.TOKEN) -> Tensor:
    """As `race`, by the numbers of these positions, which may be known already."""
    sizes = tuple(one.shape[-1] for one in log_probs)
    if is_fused(draws.seeds.device, *sizes):
        return race(log_probs, draws.keys(role, len(sizes)))
    pairs = zip(log_probs, draws.gumbels(role, sizes), strict=True)
    return torch.stack([(one + some).argmax(-1) for one, some in pairs], dim=-1)
