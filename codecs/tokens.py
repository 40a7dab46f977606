"""Tokens: the one record that codecs write and that generators and file formats read."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.codecs.inputs import described


class Tokens(NamedTuple):
    """Discrete codes of a batch of items.

    Attributes:
        ids: int64 [batch, positions, groups], each in [0, vocab[group]).
        mask: bool [batch, positions], True where a position belongs to its item; True comes first.
        vocab: codebook size of each group (residual level, sub-code or latent dimension).
        lengths: int64 [batch], size of each item before encoding (audio: samples), or None if the
            items fill all positions.
        scale: float32 [batch, segments], factors of the decoded signal that the encoder took out
            (EnCodec 48 kHz: the loudness of each segment), or None.
        grid: rows and columns of images whose positions form a grid, row by row, or None.
    """

    ids: Tensor
    mask: Tensor
    vocab: tuple[int, ...]
    lengths: Tensor | None = None
    scale: Tensor | None = None
    grid: tuple[int, int] | None = None

    @property
    def bits_per_position(self) -> float:
        """Bits that one position carries: the sum over groups of log2 of the codebook size."""
        return sum(math.log2(size) for size in self.vocab)

    def check(self) -> "Tokens":
        """Return self, or raise TypeError or ValueError naming what breaks the contract above."""
        for name in ("ids", "mask", "lengths", "scale"):
            value = getattr(self, name)
            if not isinstance(value, Tensor) and (value is not None or name in ("ids", "mask")):
                raise TypeError(f"{name} of tokens must be a torch.Tensor, got {described(value)}")
        if self.ids.dim() != 3 or self.ids.dtype != torch.int64:
            raise ValueError(
                f"ids must be int64 [batch, positions, groups], got {described(self.ids)}"
            )
        if self.ids.shape[2] != len(self.vocab):
            raise ValueError(f"ids have {self.ids.shape[2]} groups, vocab names {len(self.vocab)}")
        if self.mask.dtype != torch.bool or self.mask.shape != self.ids.shape[:2]:
            raise ValueError(
                f"mask must be bool {list(self.ids.shape[:2])}, got {described(self.mask)}"
            )
        sizes = torch.tensor(self.vocab, device=self.ids.device)
        wrong = ((self.ids < 0) | (self.ids >= sizes)) & self.mask.unsqueeze(-1)
        if wrong.any():
            item, position, group = wrong.nonzero()[0].tolist()
            raise ValueError(
                f"id {int(self.ids[item, position, group])} at position {position}, group {group} "
                f"of item {item} is outside [0, {self.vocab[group]})"
            )
        return self


def concatenated(blocks: Sequence[Tokens]) -> Tokens:
    """Tokens of one batch that came in blocks of positions, joined in time; without lengths."""
    scales = [block.scale for block in blocks if block.scale is not None]
    return blocks[0]._replace(
        ids=torch.cat([block.ids for block in blocks], dim=1),
        mask=torch.cat([block.mask for block in blocks], dim=1),
        lengths=None,
        scale=torch.cat(scales, dim=1) if scales else None,
    )
