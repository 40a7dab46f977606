"""Audio made on the fly, in the batches of `intaglio.data.audio`: for tests and debug recipes."""

from typing import Any

from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from intaglio.data.audio import WholeClip, collate_clips, collate_crops
from intaglio.data.sampler import PassSampler
from intaglio.data.signals import speechlike
from intaglio.data.transforms import generator_of

__all__ = ["SyntheticAudio", "speechlike"]


class _Signals(Dataset[Tensor]):
    def __init__(self, count: int, size: int, sample_rate: int, seed: int) -> None:
        self.count, self.size, self.sample_rate, self.seed = count, size, sample_rate, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: tuple[int, int]) -> Tensor:
        return speechlike(self.size, self.sample_rate, generator_of(self.seed, *key))[None]


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
        batch_size: signals in a batch.
        samples_per_epoch: signals in a training epoch.
        validation_samples: signals for validation, and as many for the test; always the same.
        seed: of all of them.
        num_workers: processes that make them.
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
    ) -> None:
        super().__init__()
        if not 1 <= batch_size <= samples_per_epoch:
            raise ValueError(
                f"an epoch of {samples_per_epoch} samples holds no batch of {batch_size}"
            )
        self.sample_rate, self.size = sample_rate, int(seconds * sample_rate)
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.samples_per_epoch, self.validation_samples = samples_per_epoch, validation_samples

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Batches of ``wave`` [batch, 1, samples] and ``lengths`` [batch]."""
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        sampler = PassSampler(self.samples_per_epoch, seed=self.seed, epoch=epoch)
        signals = _Signals(self.samples_per_epoch, self.size, self.sample_rate, self.seed)
        return self._loader(signals, collate_crops, sampler=sampler, drop_last=True)

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
        signals = _Signals(self.validation_samples, self.size, self.sample_rate, seed)
        return self._loader(_Clips(signals), collate_clips)

    def _loader(self, dataset: Any, collate: Any, **options: Any) -> DataLoader[Any]:
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            collate_fn=collate,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            **options,
        )
