"""Segments: a signal in overlapping pieces that are coded apart (EnCodec 48 kHz, 2022).

Decoded pieces are faded into one another by triangular weights, normalised to one everywhere.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from intaglio.codecs.inputs import check_number
from intaglio.codecs.tokens import Tokens

MAX_SECONDS = 60  # of a piece, as which also shorter signals are coded


class Segments(NamedTuple):
    """How signals are cut.

    Attributes:
        size: samples of a piece.
        overlap: samples that a piece shares with the next one.
    """

    size: int
    overlap: int

    def checked(self, hop_length: int, sample_rate: int) -> "Segments":
        """These; raise ValueError unless they fill whole positions, few and short enough.

        Args:
            hop_length: samples of a position.
            sample_rate: samples per second.
        """
        check_number("segment", self.size, (1, MAX_SECONDS * sample_rate))
        check_number("overlap", self.overlap, (0, self.size // 2))
        if self.size % hop_length:
            raise ValueError(
                f"a segment of {self.size} samples that overlap by {self.overlap} does not fill "
                f"whole positions of {hop_length}"
            )
        return self

    @property
    def step(self) -> int:
        """Samples from the start of a piece to that of the next."""
        return self.size - self.overlap

    def pieces(self, samples: Tensor) -> Tensor:
        """Number of pieces of signals, at least 1; none lies within the one before."""
        return (-(-(samples - self.overlap) // self.step)).clamp(min=1)

    def pieces_of(self, positions: Tensor, hop_length: int) -> Tensor:
        """Number of pieces of items of ``positions`` positions, at least 1."""
        return (-(-positions // (self.size // hop_length))).clamp(min=1)

    def ends(self, positions: Tensor, hop_length: int) -> Tensor:
        """Samples of items up to the end of their last position."""
        before = self.pieces_of(positions, hop_length) - 1
        return positions * hop_length - before * self.overlap

    def encode(
        self,
        x: Tensor,
        lengths: Tensor | None,
        code: Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]],
    ) -> tuple[Tensor, Tensor | None]:
        """Ids, [batch, positions of all pieces, groups], and scales, [batch, pieces], if any.

        Args:
            x: [batch, channels, samples].
            lengths: int64 [batch], samples of each item; all of them if None.
            code: gives ids [pieces, positions, groups] and scales [pieces, 1] of pieces
                [pieces, channels, size] and their lengths.
        """
        if lengths is None:
            lengths = torch.full((x.shape[0],), x.shape[-1], device=x.device)
        pieces = self._cut(x)
        numbers = torch.arange(pieces.shape[1], device=x.device)
        sizes = (lengths.unsqueeze(1) - numbers * self.step).clamp(0, self.size)
        used = numbers < self.pieces(lengths).unsqueeze(1)
        found, scales = code(pieces[used], sizes[used])
        ids = found.new_zeros(*used.shape, *found.shape[1:])
        ids[used] = found
        if scales is None:
            return ids.flatten(1, 2), None
        scale = scales.new_ones(used.shape)
        scale[used] = scales[:, 0]
        return ids.flatten(1, 2), scale

    def decode(
        self,
        tokens: Tokens,
        hop_length: int,
        code: Callable[[Tensor, Tensor, Tensor | None], Tensor],
    ) -> Tensor:
        """Signals, [batch, channels, samples].

        Args:
            tokens: of whole items, with a scale for each piece, if any.
            hop_length: samples of a position.
            code: gives pieces [pieces, channels, size] of ids [pieces, positions, groups], their
                mask [pieces, positions] and their scales [pieces, 1].
        """
        each = self.size // hop_length
        ids = F.pad(tokens.ids, (0, 0, 0, -tokens.ids.shape[1] % each)).unflatten(1, (-1, each))
        before = torch.arange(ids.shape[1], device=ids.device) * each
        positions = (tokens.mask.sum(1, keepdim=True) - before).clamp(0, each)
        used = positions > 0
        mask = torch.arange(each, device=ids.device) < positions.unsqueeze(-1)
        scales = None if tokens.scale is None else tokens.scale[used].unsqueeze(-1)
        found = code(ids[used], mask[used], scales)
        pieces = found.new_zeros(*used.shape, *found.shape[1:])
        pieces[used] = found
        lengths = positions * hop_length
        return self._join(pieces, lengths)

    def weights(self, device: torch.device) -> Tensor:
        """Weight of each sample of a piece, [size]: a triangle without zeros."""
        line = torch.linspace(0, 1, self.size + 2, device=device)[1:-1]
        return 0.5 - (line - 0.5).abs()

    def _cut(self, x: Tensor) -> Tensor:
        """Pieces, [batch, pieces, channels, size]; the last one is filled up with zeros."""
        count = int(self.pieces(torch.tensor(x.shape[-1])))
        x = F.pad(x, (0, (count - 1) * self.step + self.size - x.shape[-1]))
        return x.unfold(-1, self.size, self.step).transpose(1, 2)

    def _join(self, pieces: Tensor, lengths: Tensor) -> Tensor:
        """Signals of pieces, of which ``lengths`` [batch, pieces] samples count."""
        batch, count, channels, size = pieces.shape
        inside = torch.arange(size, device=pieces.device) < lengths.unsqueeze(-1)
        weights = (self.weights(pieces.device) * inside).unsqueeze(2)
        total = (count - 1) * self.step + size
        signal = pieces.new_zeros(batch, channels, total)
        weight = pieces.new_zeros(batch, 1, total)
        for number in range(count):
            start = number * self.step
            signal[..., start : start + size] += weights[:, number] * pieces[:, number]
            weight[..., start : start + size] += weights[:, number]
        return signal / weight.clamp(min=1e-9)


def loudness(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Root mean square of the mean of the channels, [batch, 1], kept from zero.

    Args:
        x: [batch, channels, samples].
        lengths: int64 [batch], samples of each item; all of them if None.
    """
    power = x.mean(1).square()
    if lengths is None:
        return power.mean(-1, keepdim=True).sqrt() + 1e-8
    inside = torch.arange(x.shape[-1], device=x.device) < lengths.unsqueeze(1)
    return ((power * inside).sum(-1) / lengths).sqrt().unsqueeze(-1) + 1e-8
