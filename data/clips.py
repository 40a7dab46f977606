"""Clips of a folder or a manifest: checked, and read in segments at one sample rate."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from torch import Tensor

from intaglio.data import listing
from intaglio.data.formats.open_audio import WaveInfo
from intaglio.data.formats.wave import SUFFIXES, probe, read_wave
from intaglio.data.listing import Damage, each, read_or_next
from intaglio.data.manifest import Record

__all__ = ["Clip", "Damage", "Reader", "find", "scan"]

T = TypeVar("T")
FILTER_REACH = 64  # samples at the lower rate that the resampling filter looks to each side


class Clip(NamedTuple):
    """A readable file: its number among all that were found, its header and its record."""

    number: int
    path: Path
    info: WaveInfo
    record: Record


def find(root: str | Path) -> tuple[Path, list[Record]]:
    """Records of a data set of recordings; see `intaglio.data.listing.find`."""
    return listing.find(root, SUFFIXES, kind="audio")


def scan(folder: Path, records: Sequence[Record], damage: Damage) -> list[Clip]:
    """Clips whose headers can be read; the others go to ``damage``."""
    paths = [folder / record.path for record in records]

    def check(number: int) -> Clip:
        return Clip(number, paths[number], probe(paths[number]), records[number])

    return [clip for clip in each(check, paths, damage) if clip is not None]


class Reader:
    """Segments of clips at one sample rate, from their files or from memory.

    Args:
        clips: what can be read; with ``cache``, clips whose samples are damaged are left out.
        sample_rate: of what is returned, in Hz.
        damage: collects the clips that cannot be read.
        channels: of what is returned: 1 takes the mean, more double a mono clip.
        cache: decode and resample everything now and keep it, 4 bytes a sample.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        sample_rate: int,
        damage: Damage,
        *,
        channels: int = 1,
        cache: bool = False,
    ) -> None:
        self.clips, self.sample_rate, self.damage = list(clips), sample_rate, damage
        self.channels = channels
        self.lengths = [_length(clip.info, sample_rate) for clip in clips]
        self._cache: list[Tensor] | None = None
        if cache:
            self._fill()

    def __len__(self) -> int:
        return len(self.clips)

    def read(self, index: int, start: int = 0, size: int | None = None) -> Tensor:
        """Samples ``start`` to ``start + size`` of a clip, float32 [channels, samples].

        Fewer at its end.

        Raises:
            ValueError, OSError: the clip cannot be read.
        """
        left = self.lengths[index] - start
        size = left if size is None else min(size, left)
        if self._cache is not None:
            return self._cache[index][:, start : start + size]
        return self._segment(self.clips[index], start, size)

    def read_or_next(self, index: int, read: Callable[[int], T]) -> T:
        """``read(index)``, or that of the next clip that can be read, noting the damage.

        Raises:
            ValueError: not one clip can be read.
        """
        return read_or_next(index, read, self.damage, self.clips)

    def _fill(self) -> None:
        def decode(index: int) -> Tensor:
            return self._segment(self.clips[index], 0, self.lengths[index])

        numbers = [clip.number for clip in self.clips]
        waves = list(each(decode, [clip.path for clip in self.clips], self.damage, numbers))
        self.clips = [
            clip for clip, wave in zip(self.clips, waves, strict=True) if wave is not None
        ]
        self._cache = [wave for wave in waves if wave is not None]
        self.lengths = [wave.shape[1] for wave in self._cache]

    def _segment(self, clip: Clip, start: int, size: int) -> Tensor:
        """Part of a clip as it would be cut out of the whole clip after resampling.

        Read at the clip's own rate are whole periods of the two rates' common grid, and as many
        more on either side as the filter reaches.
        """
        common = math.gcd(clip.info.sample_rate, self.sample_rate)
        ours, theirs = self.sample_rate // common, clip.info.sample_rate // common
        reach = 0 if ours == theirs else -(-FILTER_REACH // min(ours, theirs)) + 1
        first = max(0, start // ours - reach)
        last = -(-(start + size) // ours) + reach
        wave, _ = read_wave(
            clip.path,
            self.sample_rate,
            channels=self.channels if clip.info.channels > 1 else 1,
            start=first * theirs,
            frames=(last - first) * theirs,
        )
        return wave[:, start - first * ours :][:, :size].expand(self.channels, -1)


def _length(info: WaveInfo, sample_rate: int) -> int:
    return -(-info.frames * sample_rate // info.sample_rate)
