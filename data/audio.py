"""Audio for training codecs: a folder, a manifest or a named set to batches."""

import logging
from typing import Any, NamedTuple

import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from intaglio.data.clips import Damage, Reader, find, scan
from intaglio.data.manifest import Side, source_key, split_of
from intaglio.data.sampler import PassLoader, PassSampler, ShareSampler, trained_batches
from intaglio.data.transforms import RandomGain, generator_of, pad_stack, random_start, tile

VALIDATION_PEAK = -3.0  # dB, as Vocos and WavTokenizer

logger = logging.getLogger(__name__)


class WholeClip(NamedTuple):
    """A clip for validation: waveform [channels, samples], its text, and where it is from."""

    wave: Tensor
    text: str
    path: str


class Crops(Dataset[Tensor]):
    """Random crops: item (pass, index) is a function of the seed, the pass and the index alone.

    Args:
        reader: of the clips.
        size: samples of a crop; shorter clips are repeated up to it.
        gain: sets the level.
        seed: of all that is drawn.
    """

    def __init__(self, reader: Reader, size: int, gain: RandomGain, seed: int) -> None:
        self.reader, self.size, self.gain, self.seed = reader, size, gain, seed

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, key: tuple[int, int]) -> Tensor:
        return self.reader.read_or_next(key[1], lambda index: self._crop(key[0], index))

    def _crop(self, number: int, index: int) -> Tensor:
        generator = generator_of(self.seed, number, index)
        start = random_start(self.reader.lengths[index], self.size, generator)
        return tile(self.gain(self.reader.read(index, start, self.size), generator), self.size)


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


def collate_crops(crops: list[Tensor]) -> dict[str, Tensor]:
    """Batch ``wave`` [batch, channels, samples] and ``lengths`` [batch] of crops of one size."""
    wave, lengths = pad_stack(crops)
    return {"wave": wave, "lengths": lengths}


def collate_clips(clips: list[WholeClip]) -> dict[str, Any]:
    """As `collate_crops`, zeros after the shorter clips, with lists ``text`` and ``path``."""
    batch: dict[str, Any] = dict(collate_crops([clip.wave for clip in clips]))
    return batch | {"text": [clip.text for clip in clips], "path": [clip.path for clip in clips]}


class AudioFolder(LightningDataModule):
    """Audio of any folder, manifest or fetched set, at one sample rate.

    Training batches are dictionaries of ``wave``, float32 [batch, channels, samples] in [-1, 1],
    and ``lengths``, int64 [batch]; the crops, their levels and their order are functions of the
    seed and the epoch, whatever the number of workers. Several processes read disjoint clips, and a
    resumed training goes on with the batch after the checkpoint's last. Validation and test
    batches hold whole clips at a fixed level, padded with zeros, and the lists ``text`` and
    ``path``.

    Clips with the same text fall on the same side of the split; clips without text are split by
    their path. Files that cannot be read are named with the reason and replaced by other clips.

    Args:
        root: a folder searched at any depth, a ``.jsonl`` manifest (a folder's ``manifest.jsonl``
            counts as one), or the name of a set fetched with ``intaglio data get``.
        sample_rate: in Hz; other rates are resampled.
        seconds: length of a training crop; shorter clips are repeated.
        batch_size: clips in a batch of each process; incomplete training batches are dropped.
        num_workers: processes that read; 0 reads in the main one, which is best with ``cache``.
        validation_share: share of the texts kept for validation.
        test_share: share of the texts kept for the test.
        seed: of split, order, crops and levels.
        gain: lowest and highest peak of a training crop, in dB of full scale.
        min_seconds: shorter clips are left out.
        max_seconds: longer clips are cut there in validation and test.
        max_bad_share: share of files that may be damaged before the run stops.
        channels: 1 takes the mean of a recording's channels; 2 reads stereo and doubles mono.
        cache: keep all clips decoded in memory, 4 bytes a sample.
        samples_per_epoch: crops in an epoch; by default as many as there are clips, but at least
            one batch.

    Raises:
        ValueError: in `setup`: no audio, no clip for training, too many damaged files.
        FileNotFoundError: in `setup`: nothing at ``root``.
    """

    def __init__(
        self,
        root: str,
        sample_rate: int,
        seconds: float,
        *,
        batch_size: int = 16,
        num_workers: int = 0,
        validation_share: float = 0.05,
        test_share: float = 0.05,
        seed: int = 0,
        gain: tuple[float, float] = (-6.0, -1.0),
        min_seconds: float = 0.1,
        max_seconds: float = 30.0,
        max_bad_share: float = 0.01,
        channels: int = 1,
        cache: bool = False,
        samples_per_epoch: int | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1 or num_workers < 0:
            raise ValueError(f"cannot batch {batch_size} clips read by {num_workers} workers")
        if seconds * sample_rate < 1 or max_seconds * sample_rate < 1:
            raise ValueError(
                f"crops of {seconds} s and clips of up to {max_seconds} s at {sample_rate} Hz "
                "hold no samples"
            )
        self.root, self.sample_rate = root, sample_rate
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.shares = (validation_share, test_share)
        self.crop_size, self.max_size = int(seconds * sample_rate), int(max_seconds * sample_rate)
        self.gain = RandomGain(*gain)
        self.min_seconds, self.max_bad_share = min_seconds, max_bad_share
        self.channels = channels
        self.cache, self.samples_per_epoch = cache, samples_per_epoch
        self.readers: dict[Side, Reader] = {}
        self.damage: Damage | None = None

    def setup(self, stage: str | None = None) -> None:
        """Find, check and split the clips, once; with ``cache``, also decode them."""
        if self.damage is not None:
            return
        folder, records = find(self.root)
        damage = Damage(len(records), self.max_bad_share)
        clips = scan(folder, records, damage)
        damage.check()
        long = [c for c in clips if c.info.frames >= self.min_seconds * c.info.sample_rate]
        sides: dict[Side, list[Any]] = {"train": [], "validation": [], "test": []}
        for clip in long:
            sides[split_of(source_key(clip.record), self.shares, self.seed)].append(clip)
        for side, members in sides.items():
            self.readers[side] = Reader(
                members, self.sample_rate, damage, channels=self.channels, cache=self.cache
            )
        damage.check()
        if len(damage):
            logger.warning("%s", damage.summary())
        if len(long) < len(clips):
            logger.warning(
                "left out %d clips shorter than %g s", len(clips) - len(long), self.min_seconds
            )
        if len(self.readers["train"]) == 0:
            raise ValueError(
                f"no clip for training in {self.root}: {len(records)} files, {len(damage)} "
                f"damaged, {len(clips) - len(long)} shorter than {self.min_seconds} s, "
                f"{len(sides['validation']) + len(sides['test'])} kept for validation and test"
            )
        self.damage = damage

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Batches of random crops; the sampler starts in the epoch in which the trainer is."""
        reader = self.readers["train"]
        rank, num_processes = self._place()
        sampler = PassSampler(
            len(reader),
            seed=self.seed,
            size=self.samples_per_epoch or max(len(reader), self.batch_size * num_processes),
            epoch=self.trainer.current_epoch if self.trainer is not None else 0,
            batch_size=self.batch_size,
            rank=rank,
            num_processes=num_processes,
        )
        return PassLoader(
            Crops(reader, self.crop_size, self.gain, self.seed),
            sampler,
            collate_fn=collate_crops,
            trained=lambda: trained_batches(self.trainer),
            num_workers=self.num_workers,
        )

    def val_dataloader(self) -> list[DataLoader[WholeClip]]:
        """Batches of whole clips; no loader if no clip was kept for validation."""
        return self._whole("validation")

    def test_dataloader(self) -> list[DataLoader[WholeClip]]:
        """Batches of whole clips; no loader if no clip was kept for the test."""
        return self._whole("test")

    def predict_dataloader(self) -> list[DataLoader[WholeClip]]:
        """Batches of all clips, whole, whatever side of the split they are on."""
        return [loader for side in self.readers for loader in self._whole(side)]

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Stop the run when the workers have met too many damaged files."""
        if self.damage is not None:
            self.damage.check()
        return batch

    def _whole(self, side: Side) -> list[DataLoader[WholeClip]]:
        reader = self.readers[side]
        if len(reader) == 0:
            return []
        rank, num_processes = self._place()
        loader = DataLoader(
            WholeClips(reader, self.max_size),
            batch_size=self.batch_size,
            sampler=ShareSampler(len(reader), rank=rank, num_processes=num_processes),
            collate_fn=collate_clips,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
        return [loader]

    def _place(self) -> tuple[int, int]:
        """Number of this process and how many there are."""
        trainer = self.trainer
        return (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
