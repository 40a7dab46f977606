"""Audio for training codecs: a folder, a manifest or a named set to batches."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from intaglio.data.clips import Clip, Damage, Reader, scan
from intaglio.data.formats.wave import SUFFIXES
from intaglio.data.manifest import Record, Side
from intaglio.data.modules import Folder
from intaglio.data.transforms import (
    RandomGain,
    RandomSpeed,
    generator_of,
    pad_stack,
    random_start,
    tile,
)

VALIDATION_PEAK = -3.0  # dB, as Vocos and WavTokenizer


class Crop(NamedTuple):
    """A piece of a clip for training: waveform [channels, samples], and the clip's path."""

    wave: Tensor
    path: str


class WholeClip(NamedTuple):
    """A clip for validation: waveform [channels, samples], its text, and where it is from."""

    wave: Tensor
    text: str
    path: str


class Crops(Dataset[Crop]):
    """Random crops: item (pass, index) is a function of the seed, the pass and the index alone.

    Args:
        reader: of the clips.
        size: samples of a crop; shorter clips are repeated up to it.
        gain: sets the level.
        speed: changes the speed, and with it the pitch.
        seed: of all that is drawn.
    """

    def __init__(
        self, reader: Reader, size: int, gain: RandomGain, speed: RandomSpeed, seed: int
    ) -> None:
        self.reader, self.size, self.gain, self.speed = reader, size, gain, speed
        self.seed = seed

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, key: tuple[int, int]) -> Crop:
        return self.reader.read_or_next(key[1], lambda index: self._crop(key[0], index))

    def _crop(self, number: int, index: int) -> Crop:
        generator = generator_of(self.seed, number, index)
        percent = self.speed.draw(generator)
        size = -(-self.size * percent // 100)
        start = random_start(self.reader.lengths[index], size, generator)
        wave = self.speed(self.reader.read(index, start, size), percent)
        wave = tile(self.gain(wave, generator), self.size)
        return Crop(wave, str(self.reader.clips[index].path))


class WholeClips(Dataset[WholeClip]):
    """Whole clips at a fixed level, in the order of their paths.

    Args:
        reader: of the clips.
        max_size: samples after which a clip is cut.
    """

    def __init__(self, reader: Reader, max_size: int) -> None:
        self.reader, self.max_size = reader, max_size
        self.gain = RandomGain(VALIDATION_PEAK, VALIDATION_PEAK)

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> WholeClip:
        return self.reader.read_or_next(index, self._whole)

    def _whole(self, index: int) -> WholeClip:
        clip = self.reader.clips[index]
        wave = self.gain(self.reader.read(index, 0, self.max_size), torch.Generator())
        return WholeClip(wave, clip.record.text, str(clip.path))


def collate_crops(crops: Sequence[Crop | WholeClip]) -> dict[str, Any]:
    """Batch ``wave`` [batch, channels, samples], ``lengths`` [batch] and the list ``path``.

    There are zeros after the shorter ones.
    """
    wave, lengths = pad_stack([crop.wave for crop in crops])
    return {"wave": wave, "lengths": lengths, "path": [crop.path for crop in crops]}


def collate_clips(clips: list[WholeClip]) -> dict[str, Any]:
    """As `collate_crops`, with the list ``text``."""
    return collate_crops(clips) | {"text": [clip.text for clip in clips]}


class AudioFolder(Folder):
    """Audio of any folder, manifest or fetched set, at one sample rate.

    Training batches are dictionaries of ``wave``, float32 [batch, channels, samples] in [-1, 1],
    ``lengths``, int64 [batch], and the list ``path``; the crops, their levels and their order are
    functions of the seed and the epoch, whatever the number of workers. Several processes read
    disjoint clips, and a resumed training goes on with the batch after the checkpoint's last.
    Validation and test batches hold whole clips at a fixed level, padded with zeros, and also the
    list ``text``.

    Clips with the same text fall on the same side of the split; clips without text are split by
    their path. Files that cannot be read are named with the reason and replaced by other clips.

    Args:
        root: a folder searched at any depth, a ``.jsonl`` manifest (a folder's ``manifest.jsonl``
            counts as one), or the name of a set fetched with ``intaglio data get``; or a list of
            them.
        sample_rate: in Hz; other rates are resampled.
        seconds: length of a training crop; shorter clips are repeated.
        batch_size: clips in a batch of each process; incomplete training batches are dropped.
        num_workers: processes that read; 0 reads in the main one, which is best with ``cache``.
        validation_share: share of the texts kept for validation.
        test_share: share of the texts kept for the test.
        test_speakers: speakers in the manifests whose clips are all for the test, whatever is said
            in them; others may say the same in training.
        seed: of split, order, crops and levels.
        gain: lowest and highest peak of a training crop, in dB of full scale.
        speeds: factors of which one is drawn for each training crop, and of which the pitch is
            changed too; "0.9, 1, 1.1" are those of Ko et al. (2015).
        min_seconds: shorter clips are left out.
        max_seconds: longer clips are cut there in validation and test.
        max_bad_share: share of files that may be damaged before the run stops.
        channels: 1 takes the mean of a recording's channels; 2 reads stereo and doubles mono.
        cache: keep all clips decoded in memory, 4 bytes a sample.
        samples_per_epoch: crops in an epoch; by default as many as there are clips, but at least
            one batch.

    Raises:
        ValueError: in `setup`: no audio, no clip for training, too many damaged files, nobody of
            the name of a speaker.
        FileNotFoundError: in `setup`: nothing at ``root``.
    """

    kind, noun, suffixes = "audio", "clip", SUFFIXES
    collate_training: Callable[[list[Any]], dict[str, Any]] = staticmethod(collate_crops)
    collate_whole = staticmethod(collate_clips)

    def __init__(
        self,
        root: str | list[str],
        sample_rate: int,
        seconds: float,
        *,
        batch_size: int = 16,
        num_workers: int = 0,
        validation_share: float = 0.05,
        test_share: float = 0.05,
        test_speakers: Sequence[str] = (),
        seed: int = 0,
        gain: tuple[float, float] = (-6.0, -1.0),
        speeds: Sequence[float] = (1.0,),
        min_seconds: float = 0.1,
        max_seconds: float = 30.0,
        max_bad_share: float = 0.01,
        channels: int = 1,
        cache: bool = False,
        samples_per_epoch: int | None = None,
    ) -> None:
        super().__init__(
            root,
            batch_size=batch_size,
            num_workers=num_workers,
            shares=(validation_share, test_share),
            seed=seed,
            max_bad_share=max_bad_share,
            samples_per_epoch=samples_per_epoch,
        )
        if seconds * sample_rate < 1 or max_seconds * sample_rate < 1:
            raise ValueError(
                f"crops of {seconds} s and clips of up to {max_seconds} s at {sample_rate} Hz "
                "hold no samples"
            )
        self.sample_rate, self.channels, self.cache = sample_rate, channels, cache
        self.crop_size, self.max_size = int(seconds * sample_rate), int(max_seconds * sample_rate)
        self.gain, self.speed = RandomGain(*gain), RandomSpeed(speeds)
        self.min_seconds, self.test_speakers = min_seconds, frozenset(test_speakers)

    def side_of(self, record: Record) -> Side:
        """The test for the speakers that are held out, otherwise as the text says."""
        return "test" if record.speaker in self.test_speakers else super().side_of(record)

    def scanned(self, folder: Path, records: Sequence[Record], damage: Damage) -> list[Clip]:
        """Clips whose headers can be read."""
        speakers = {record.speaker for record in records} - {""}
        if unknown := sorted(self.test_speakers - speakers):
            known = ", ".join(sorted(speakers)[:10]) or "nobody; speakers stand in a manifest"
            raise ValueError(f"no clip is by {', '.join(unknown)} of test_speakers, but by {known}")
        return scan(folder, records, damage)

    def chosen(self, files: list[Clip]) -> tuple[list[Clip], str]:
        """Clips that are long enough."""
        return self.kept(
            files,
            lambda clip: clip.info.frames >= self.min_seconds * clip.info.sample_rate,
            f"shorter than {self.min_seconds:g} s",
        )

    def amount(self, files: list[Clip]) -> str:
        """Their duration."""
        seconds = sum(clip.info.frames / clip.info.sample_rate for clip in files)
        return f" ({seconds / 3600:.1f} h)" if seconds >= 3600 else f" ({seconds / 60:.1f} min)"

    def reader(self, files: list[Clip], damage: Damage) -> Reader:
        """Reader of the clips of one side of the split."""
        return Reader(files, self.sample_rate, damage, channels=self.channels, cache=self.cache)

    def training_items(self, reader: Reader) -> Dataset[Any]:
        """Random crops."""
        return Crops(reader, self.crop_size, self.gain, self.speed, self.seed)

    def whole_items(self, reader: Reader) -> WholeClips:
        """Whole clips."""
        return WholeClips(reader, self.max_size)
