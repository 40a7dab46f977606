"""Audio made on the fly, in the batches of `intaglio.data.audio`: for tests and debug recipes."""

import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from intaglio.data.audio import WholeClip, collate_clips, collate_crops
from intaglio.data.sampler import PassLoader, PassSampler, ShareSampler, trained_batches
from intaglio.data.signals import speechlike
from intaglio.data.transforms import generator_of

__all__ = ["SyntheticAudio", "speechlike"]


class _Signals(Dataset[Tensor]):
    def __init__(self, count: int, size: int, sample_rate: int, seed: int, channels: int) -> None:
        self.count, self.size, self.sample_rate, self.seed = count, size, sample_rate, seed
        self.channels = channels

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: tuple[int, int]) -> Tensor:
        generator = generator_of(self.seed, *key)
        rows = [speechlike(self.size, self.sample_rate, generator) for _ in range(self.channels)]
        return torch.stack(rows)


class _Clips(Dataset[WholeClip]):
    def __init__(self, signals: _Signals) -> None:
        self.signals = signals

    def __len__(self) -> int:
        return len(self.signals)

    def __getitem__(self, index: int) -> WholeClip:
        return WholeClip(self.signals[-1, index], "", f"synthetic/{index}")


class SyntheticAudio(LightningDataModule):
    """Endless speech-like signals; each epoch brings new ones.

    Args:
        sample_rate: in Hz.
        seconds: length of every signal.
        batch_size: signals in a batch of each process.
        samples_per_epoch: signals in a training epoch.
        validation_samples: signals for validation, and as many for the test; always the same.
        seed: of all of them.
        num_workers: processes that make them.
        channels: of every signal; they differ.
    """

    def __init__(
        self,
        sample_rate: int,
        seconds: float,
        *,
        batch_size: int = 4,
        samples_per_epoch: int = 64,
        validation_samples: int = 4,
        seed: int = 0,
        num_workers: int = 0,
        channels: int = 1,
    ) -> None:
        super().__init__()
        if not 1 <= batch_size <= samples_per_epoch:
            raise ValueError(
                f"an epoch of {samples_per_epoch} samples holds no batch of {batch_size}"
            )
        self.sample_rate, self.size = sample_rate, int(seconds * sample_rate)
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.samples_per_epoch, self.validation_samples = samples_per_epoch, validation_samples
        self.channels = channels

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Batches of ``wave`` [batch, channels, samples] and ``lengths`` [batch]."""
        rank, num_processes = self._place()
        sampler = PassSampler(
            self.samples_per_epoch,
            seed=self.seed,
            epoch=self.trainer.current_epoch if self.trainer is not None else 0,
            batch_size=self.batch_size,
            rank=rank,
            num_processes=num_processes,
        )
        return PassLoader(
            _Signals(self.samples_per_epoch, self.size, self.sample_rate, self.seed, self.channels),
            sampler,
            collate_fn=collate_crops,
            trained=lambda: trained_batches(self.trainer),
            num_workers=self.num_workers,
        )

    def val_dataloader(self) -> DataLoader[WholeClip]:
        """The same with lists ``text``, all empty, and ``path``."""
        return self._whole(self.seed + 1)

    def test_dataloader(self) -> DataLoader[WholeClip]:
        """Other signals than in validation."""
        return self._whole(self.seed + 2)

    def predict_dataloader(self) -> DataLoader[WholeClip]:
        """The signals of the test."""
        return self.test_dataloader()

    def _whole(self, seed: int) -> DataLoader[WholeClip]:
        count = self.validation_samples
        rank, num_processes = self._place()
        return DataLoader(
            _Clips(_Signals(count, self.size, self.sample_rate, seed, self.channels)),
            batch_size=self.batch_size,
            sampler=ShareSampler(count, rank=rank, num_processes=num_processes),
            collate_fn=collate_clips,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )

    def _place(self) -> tuple[int, int]:
        """Number of this process and how many there are."""
        trainer = self.trainer
        return (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
