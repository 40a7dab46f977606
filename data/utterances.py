"""Whole recordings with their text, for training recognisers."""

from collections.abc import Sequence

from torch import Tensor
from torch.utils.data import Dataset

from intaglio.data.audio import AudioFolder, WholeClip, collate_clips
from intaglio.data.clips import Clip, Reader
from intaglio.data.transforms import RandomGain, RandomSpeed, generator_of


class _Utterances(Dataset[WholeClip]):
    """Whole clips: item (pass, index) is a function of the seed, the pass and the index alone."""

    def __init__(self, reader: Reader, gain: RandomGain, speed: RandomSpeed, seed: int) -> None:
        self.reader, self.gain, self.speed, self.seed = reader, gain, speed, seed

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, key: tuple[int, int]) -> WholeClip:
        return self.reader.read_or_next(key[1], lambda index: self._whole(key[0], index))

    def _whole(self, number: int, index: int) -> WholeClip:
        generator = generator_of(self.seed, number, index)
        percent = self.speed.draw(generator)
        wave: Tensor = self.gain(self.speed(self.reader.read(index), percent), generator)
        clip = self.reader.clips[index]
        return WholeClip(wave, clip.record.text, str(clip.path))


class Utterances(AudioFolder):
    """Recordings that have a text in their manifest, each a whole, at one sample rate.

    Batches, also for training, are those of `AudioFolder` for validation: ``wave``, padded with
    zeros, ``lengths``, ``path`` and ``text``.

    Args:
        root: a ``.jsonl`` manifest, a folder with a ``manifest.jsonl``, or the name of a set that
            was fetched with ``intaglio data get``; or a list of them.
        sample_rate: in Hz; other rates are resampled.
        batch_size: recordings in a batch of each process; incomplete training batches are dropped.
        num_workers: see `AudioFolder`.
        validation_share: see `AudioFolder`.
        test_share: see `AudioFolder`.
        test_speakers: see `AudioFolder`.
        seed: of split, order, levels and speeds.
        gain: lowest and highest peak in training, in dB of full scale.
        speeds: see `AudioFolder`.
        min_seconds: shorter recordings are left out.
        max_seconds: longer recordings are left out: half of them would not be what the text says.
        max_bad_share: see `AudioFolder`.
        cache: see `AudioFolder`.
        samples_per_epoch: recordings in an epoch; by default as many as there are, but at least one
            batch.

    Raises:
        ValueError: in `setup`: see `AudioFolder`; no recording with a text.
        FileNotFoundError: in `setup`: nothing at ``root``.
    """

    collate_training = staticmethod(collate_clips)

    def __init__(
        self,
        root: str | list[str],
        sample_rate: int,
        *,
        batch_size: int = 16,
        num_workers: int = 0,
        validation_share: float = 0.05,
        test_share: float = 0.05,
        test_speakers: Sequence[str] = (),
        seed: int = 0,
        gain: tuple[float, float] = (-6.0, -1.0),
        speeds: Sequence[float] = (1.0,),
        min_seconds: float = 0.3,
        max_seconds: float = 15.0,
        max_bad_share: float = 0.01,
        cache: bool = False,
        samples_per_epoch: int | None = None,
    ) -> None:
        super().__init__(
            root,
            sample_rate,
            max_seconds,
            batch_size=batch_size,
            num_workers=num_workers,
            validation_share=validation_share,
            test_share=test_share,
            test_speakers=test_speakers,
            seed=seed,
            gain=gain,
            speeds=speeds,
            min_seconds=min_seconds,
            max_seconds=max_seconds,
            max_bad_share=max_bad_share,
            cache=cache,
            samples_per_epoch=samples_per_epoch,
        )
        self.max_seconds = max_seconds

    def chosen(self, files: list[Clip]) -> tuple[list[Clip], str]:
        """Recordings that are neither too short nor too long and that have a text."""
        files, reasons = super().chosen(files)
        files, silent = self.kept(files, lambda clip: bool(clip.record.text), "without text")
        files, longer = self.kept(
            files,
            lambda clip: clip.info.frames <= self.max_seconds * clip.info.sample_rate,
            f"longer than {self.max_seconds:g} s",
        )
        return files, "; ".join(filter(None, (reasons, silent, longer)))

    def training_items(self, reader: Reader) -> _Utterances:
        """Whole recordings at random levels."""
        return _Utterances(reader, self.gain, self.speed, self.seed)
