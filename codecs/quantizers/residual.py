"""Residual quantization (RVQ; Zeghidour et al., 2021): a level quantizes the rest of the last.

Any quantizers can be the levels: codebooks (SoundStream, EnCodec), factorized ones (DAC), and such
of different strides (SNAC). A prefix of the levels is a coarser code of lower bitrate; dropout over
the levels trains for all prefixes.

Deviations: a level never sends gradients through what it left to the next one (some releases do,
and lose the commitment of all levels but the first, or mix it); levels that dropout leaves out of
the sum are still trained, so that deep codebooks are not starved.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from intaglio.codecs.quantizers.base import Quantized, Quantizer, mean_terms, straight_through


class ResidualQuantizer(Quantizer):
    """Levels that refine one another. Losses and statistics are means over the levels.

    A level of a smaller stride has several ids for each position, one group each, in time order.

    Args:
        levels: quantizers of one latent size, the coarsest first; every stride must divide the
            first.
        dropout: share of the items of a training batch that use only their first levels.
        depths: numbers of levels that dropout draws from; all from 1 on if None.
        one_depth: draw one number for the whole batch (EnCodec) instead of one for each item (DAC).
        through_levels: whether gradients reach the latents through the levels' own layers (DAC,
            where each level has linear ones) or straight through the sum (EnCodec).

    Raises:
        ValueError: no levels, levels that do not fit together, or a depth out of range.
    """

    def __init__(
        self,
        levels: Sequence[Quantizer],
        *,
        dropout: float = 0.0,
        depths: Sequence[int] | None = None,
        one_depth: bool = False,
        through_levels: bool = False,
    ) -> None:
        super().__init__()
        if not levels or len({level.dim for level in levels}) > 1:
            raise ValueError(
                f"levels need one latent size, got {[level.dim for level in levels] or 'no levels'}"
            )
        self.stride = levels[0].stride
        if any(self.stride % level.stride for level in levels):
            raise ValueError(
                f"strides {[level.stride for level in levels]} do not divide the first"
            )
        if not 0 <= dropout <= 1 or not all(1 <= d <= len(levels) for d in depths or [1]):
            raise ValueError(
                f"dropout {dropout} and depths {depths} do not fit {len(levels)} levels"
            )
        self.dim = levels[0].dim
        self.levels = nn.ModuleList(levels)
        self.repeats = [self.stride // level.stride for level in levels]
        self.vocab = tuple(
            size
            for level, repeats in zip(levels, self.repeats, strict=True)
            for size in level.vocab * repeats
        )
        self.dropout = dropout
        self.depths = tuple(depths or range(1, len(levels) + 1))
        self.one_depth = one_depth
        self.through_levels = through_levels

    @property
    def level_groups(self) -> tuple[int, ...]:
        """Groups of each level."""
        return tuple(
            len(level.vocab) * repeats
            for level, repeats in zip(self._levels(), self.repeats, strict=True)
        )

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantize level by level; in training with dropout."""
        latents = latents.float()
        depth = self._depth(latents)
        residual, total = latents, torch.zeros_like(latents)
        ids, losses, stats = [], [], []
        for number, level in enumerate(self._levels()):
            quantized = level(residual, mask)
            residual = residual - quantized.values.detach()
            added = (number < depth).view(-1, 1, 1)
            total = total + quantized.values * added
            ids.append(self._side_by_side(quantized.ids, number))
            losses.append(quantized.losses)
            stats.append(quantized.stats)
        if not self.through_levels:
            total = straight_through(latents, total)
        return Quantized(total, torch.cat(ids, dim=-1), mean_terms(losses), mean_terms(stats))

    def encode_ids(self, latents: Tensor) -> Tensor:
        """Ids of all levels, int64 [batch, positions, groups]."""
        return self.encode_levels(latents, len(self.levels))

    def encode_levels(self, latents: Tensor, levels: int) -> Tensor:
        """Ids of the first levels; the others are not computed."""
        residual = latents.float().contiguous()  # like the levels' values; mixed layouts are slower
        ids = []
        for number, level in enumerate(self._levels()[:levels]):
            found = level.encode_ids(residual)
            if number + 1 < levels:
                residual = residual - level.decode_ids(found)
            ids.append(self._side_by_side(found, number))
        return torch.cat(ids, dim=-1)

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Latents, the sum over the levels that ``ids`` has groups for."""
        total: Tensor | None = None
        start = 0
        for number, (level, groups) in enumerate(
            zip(self._levels(), self.level_groups, strict=True)
        ):
            if start == ids.shape[-1]:
                break
            found = ids[..., start : start + groups]
            if self.repeats[number] > 1:
                found = found.reshape(ids.shape[0], -1, len(level.vocab))
            values = level.decode_ids(found)
            total = values if total is None else total + values
            start += groups
        assert total is not None
        return total

    def _levels(self) -> list[Quantizer]:
        return list(self.levels)  # type: ignore[arg-type]

    def _side_by_side(self, ids: Tensor, number: int) -> Tensor:
        """The ids of a level, with those that share a position as groups of it."""
        repeats = self.repeats[number]
        return ids if repeats == 1 else ids.reshape(ids.shape[0], -1, ids.shape[-1] * repeats)

    def _depth(self, latents: Tensor) -> Tensor:
        """Number of levels to add up for each item, int64 [batch]."""
        batch = latents.shape[0]
        depth = torch.full((batch,), len(self.levels))
        if self.training and self.dropout:
            choices = torch.tensor(self.depths)
            drawn = choices[torch.randint(len(choices), (1 if self.one_depth else batch,))]
            count = int(self.dropout * batch)
            depth[:count] = drawn.expand(batch)[:count]
        return depth.to(latents.device)
