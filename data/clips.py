"""Clips of a folder or a manifest: found, checked, and read in stretches at one sample rate.

No clip is lost in silence: a file that cannot be read is named with the reason, whether its header
or only its samples are damaged, and too many of them stop the run.
"""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from intaglio.data.formats.wave import SUFFIXES, WaveInfo, probe, read_wave
from intaglio.data.manifest import Record, read_manifest
from intaglio.data.sets import MANIFEST, SETS, folder_of

T = TypeVar("T")
NAMED = 20  # damaged files that a message names one by one
FILTER_REACH = 64  # samples at the lower rate that the resampling filter looks to each side
THREADS = 8  # reading waits for the disk more than for the processor

logger = logging.getLogger(__name__)


class Clip(NamedTuple):
    """A readable file: its place among all that were found, its header and its record."""

    number: int
    path: Path
    info: WaveInfo
    record: Record


class Damage:
    """Files of a data set that cannot be read; also tells of those that a worker process meets.

    Args:
        total: number of files in the data set.
        max_share: share of damaged files that is put up with.
    """

    def __init__(self, total: int, max_share: float) -> None:
        if not 0 <= max_share <= 1:
            raise ValueError(f"the share of damaged files must be in [0, 1], got {max_share}")
        self.total, self.max_share = total, max_share
        self.reasons: dict[int, str] = {}
        self._met = torch.zeros(total, dtype=torch.bool).share_memory_()

    def __len__(self) -> int:
        return int(self._met.sum())

    def add(self, number: int, reason: str) -> bool:
        """Note a damaged file; False if it was known."""
        if self._met[number]:
            return False
        self._met[number] = True
        self.reasons[number] = reason
        return True

    def check(self) -> None:
        """Stop the run if there are too many.

        Raises:
            ValueError: the share of damaged files is above ``max_share``.
        """
        if len(self) > self.max_share * self.total:
            raise ValueError(
                f"{self.summary()}; more than the {self.max_share:.1%} that max_bad_share allows"
            )

    def summary(self) -> str:
        """One line: how many, which, why. Those met by a worker are counted; it has named them."""
        named = [self.reasons[number] for number in sorted(self.reasons)[:NAMED]]
        rest = len(self) - len(named)
        named += [f"and {rest} more"] if rest else []
        return f"{len(self)} of {self.total} files cannot be read: {'; '.join(named)}"


def find(root: str | Path) -> tuple[Path, list[Record]]:
    """Records of a data set, sorted by path, and the folder that their paths start from.

    Args:
        root: a folder with audio files at any depth, a folder with a ``manifest.jsonl``, a
            manifest, or the name of a fetched set.

    Raises:
        ValueError: there is no audio file in the folder, or the manifest is damaged.
        FileNotFoundError: there is nothing at ``root``.
    """
    root = _located(str(root))
    if root.is_dir() and not (root / MANIFEST).is_file():
        records = [
            Record(path.relative_to(root).as_posix())
            for path in root.rglob("*")
            if path.suffix.lower() in SUFFIXES
            and path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(root).parts)
        ]
        folder = root
    else:
        manifest = root / MANIFEST if root.is_dir() else root
        records = read_manifest(manifest)
        folder = manifest.parent
    if not records:
        raise ValueError(f"no audio files in {root}")
    return folder, sorted(records)


def scan(folder: Path, records: Sequence[Record], damage: Damage) -> list[Clip]:
    """Clips whose headers can be read; the others go to ``damage``."""

    def check(number: int) -> Clip:
        path = folder / records[number].path
        return Clip(number, path, probe(path), records[number])

    return [clip for clip in _each(check, range(len(records)), damage) if clip is not None]


class Reader:
    """Stretches of clips at one sample rate, from their files or from memory.

    Args:
        clips: what can be read; with ``cache``, clips whose samples are damaged are left out.
        sample_rate: of what is returned, in Hz.
        damage: is told of clips that cannot be read.
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
        self._cache: Tensor | None = None
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
            start += self._starts[index]
            return self._cache[:, start : start + size]
        return self._stretch(self.clips[index], start, size)

    def read_or_next(self, index: int, read: Callable[[int], T]) -> T:
        """``read(index)``, or that of the next clip that can be read, telling of the damage.

        Raises:
            ValueError: not one clip can be read.
        """
        for step in range(len(self.clips)):
            clip = self.clips[(index + step) % len(self.clips)]
            try:
                return read((index + step) % len(self.clips))
            except (ValueError, OSError) as error:
                if self.damage.add(clip.number, str(error)):
                    logger.warning("%s; the next clip takes its place", error)
        raise ValueError(f"none of {len(self.clips)} clips can be read: {self.damage.summary()}")

    def _fill(self) -> None:
        starts = [0, *torch.tensor(self.lengths).cumsum(0).tolist()]
        flat = torch.zeros(self.channels, starts.pop())

        def decode(index: int) -> int:
            wave = self._stretch(self.clips[index], 0, self.lengths[index])
            flat[:, starts[index] : starts[index] + wave.shape[1]] = wave
            return wave.shape[1]

        numbers = [clip.number for clip in self.clips]
        lengths = list(_each(decode, range(len(starts)), self.damage, numbers))
        good = [index for index, length in enumerate(lengths) if length is not None]
        self.clips = [self.clips[index] for index in good]
        self.lengths = [length for length in lengths if length is not None]
        self._starts = [starts[index] for index in good]
        self._cache = flat

    def _stretch(self, clip: Clip, start: int, size: int) -> Tensor:
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


def _located(root: str) -> Path:
    path = Path(root).expanduser()
    if not path.exists():
        if any(known.name == root for known in SETS):
            path = folder_of(root)
            if not path.is_dir():
                raise FileNotFoundError(f"{path} does not exist: run `intaglio data get {root}`")
        else:
            raise FileNotFoundError(f"{root} is no folder, manifest or name of a data set")
    return path


def _each(
    work: Callable[[int], T],
    indices: Iterable[int],
    damage: Damage,
    numbers: Sequence[int] | None = None,
) -> list[T | None]:
    """Results of ``work``, made in threads, None where a file is damaged."""

    def guarded(index: int) -> T | str:
        try:
            return work(index)
        except (ValueError, OSError) as error:
            return str(error)

    results: list[T | None] = []
    with ThreadPoolExecutor(THREADS) as pool:
        for index, result in enumerate(pool.map(guarded, indices)):
            if isinstance(result, str):
                damage.add(index if numbers is None else numbers[index], result)
                results.append(None)
            else:
                results.append(result)
    return results


def _length(info: WaveInfo, sample_rate: int) -> int:
    return -(-info.frames * sample_rate // info.sample_rate)
