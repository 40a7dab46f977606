"""Audio and images made on the fly, for tests and debug recipes.

The batches are those of `intaglio.data.audio` and `intaglio.data.image`.
"""

from functools import partial

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from intaglio.data.audio import AudioFolder, WholeClip, collate_clips
from intaglio.data.image import ImageFolder, ImageItem, collate_images
from intaglio.data.modules import Loading
from intaglio.data.synthetic.audio import speechlike
from intaglio.data.synthetic.images import KINDS, shapes_image
from intaglio.data.transforms import generator_of

__all__ = ["SyntheticAudio", "SyntheticImages", "debug_audio", "debug_images", "speechlike"]


def debug_audio(
    sample_rate: int,
    seconds: float,
    *,
    root: str | list[str] | None = None,
    batch_size: int = 2,
    num_workers: int = 0,
    channels: int = 1,
) -> LightningDataModule:
    """`SyntheticAudio`, or `AudioFolder` if a root is given: what ``overlays/debug`` trains on."""
    made = SyntheticAudio if root is None else partial(AudioFolder, root)
    return made(
        sample_rate, seconds, batch_size=batch_size, num_workers=num_workers, channels=channels
    )


def debug_images(
    size: int, *, root: str | None = None, batch_size: int = 2, num_workers: int = 0
) -> LightningDataModule:
    """`SyntheticImages`, or `ImageFolder` if a root is given: for ``overlays/debug_images``."""
    made = SyntheticImages if root is None else partial(ImageFolder, root)
    return made(size, batch_size=batch_size, num_workers=num_workers)


class _Signals(Dataset[WholeClip]):
    def __init__(self, count: int, size: int, sample_rate: int, seed: int, channels: int) -> None:
        self.count, self.size, self.sample_rate, self.seed = count, size, sample_rate, seed
        self.channels = channels

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: tuple[int, int]) -> WholeClip:
        generator = generator_of(self.seed, *key)
        rows = [speechlike(self.size, self.sample_rate, generator) for _ in range(self.channels)]
        return WholeClip(torch.stack(rows), "", f"synthetic/{key[1]}")


class _Clips(Dataset[WholeClip]):
    def __init__(self, signals: _Signals) -> None:
        self.signals = signals

    def __len__(self) -> int:
        return len(self.signals)

    def __getitem__(self, index: int) -> WholeClip:
        return self.signals[-1, index]


class SyntheticAudio(Loading):
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
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        if batch_size > samples_per_epoch:
            raise ValueError(
                f"an epoch of {samples_per_epoch} samples holds no batch of {batch_size}"
            )
        self.sample_rate, self.size = sample_rate, int(seconds * sample_rate)
        self.samples_per_epoch, self.validation_samples = samples_per_epoch, validation_samples
        self.channels = channels

    def train_dataloader(self) -> DataLoader[WholeClip]:
        """Batches of ``wave`` [batch, channels, samples], ``lengths`` [batch], and the lists
        ``path`` and ``text``, whose texts are all empty."""
        signals = self._signals(self.samples_per_epoch, self.seed)
        return self.in_passes(signals, collate_clips, count=len(signals))

    def val_dataloader(self) -> DataLoader[WholeClip]:
        """Signals that stay the same."""
        return self._whole(self.seed + 1)

    def test_dataloader(self) -> DataLoader[WholeClip]:
        """Other signals than in validation."""
        return self._whole(self.seed + 2)

    def predict_dataloader(self) -> DataLoader[WholeClip]:
        """The signals of the test."""
        return self.test_dataloader()

    def _whole(self, seed: int) -> DataLoader[WholeClip]:
        return self.in_order(_Clips(self._signals(self.validation_samples, seed)), collate_clips)

    def _signals(self, count: int, seed: int) -> _Signals:
        return _Signals(count, self.size, self.sample_rate, seed, self.channels)


class _Shapes(Dataset[ImageItem]):
    def __init__(self, count: int, size: int, seed: int) -> None:
        self.count, self.size, self.seed = count, size, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: int | tuple[int, int]) -> ImageItem:
        number, index = (-1, key) if isinstance(key, int) else key
        kind = index % len(KINDS)
        image = shapes_image(self.size, kind, generator_of(self.seed, number, index))
        return ImageItem(image, kind, KINDS[kind], f"synthetic/{index}")


class SyntheticImages(Loading):
    """Endless images of shapes, in the batches of `ImageFolder`; each epoch brings new ones.

    The class is the kind of shape, the caption its name.

    Args:
        size: sides of the images in pixels.
        batch_size: images in a batch of each process.
        samples_per_epoch: images in a training epoch.
        validation_samples: images for validation, and as many for the test; always the same.
        seed: of all of them.
        num_workers: processes that make them.
    """

    def __init__(
        self,
        size: int,
        *,
        batch_size: int = 4,
        samples_per_epoch: int = 64,
        validation_samples: int = 4,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        if batch_size > samples_per_epoch:
            raise ValueError(
                f"an epoch of {samples_per_epoch} samples holds no batch of {batch_size}"
            )
        self.size = size
        self.samples_per_epoch, self.validation_samples = samples_per_epoch, validation_samples

    def train_dataloader(self) -> DataLoader[ImageItem]:
        """Batches of ``image``, ``label``, ``caption`` and ``path``."""
        shapes = _Shapes(self.samples_per_epoch, self.size, self.seed)
        return self.in_passes(shapes, collate_images, count=len(shapes))

    def val_dataloader(self) -> DataLoader[ImageItem]:
        """Images that stay the same."""
        return self._whole(self.seed + 1)

    def test_dataloader(self) -> DataLoader[ImageItem]:
        """Other images than in validation."""
        return self._whole(self.seed + 2)

    def predict_dataloader(self) -> DataLoader[ImageItem]:
        """The images of the test."""
        return self.test_dataloader()

    def _whole(self, seed: int) -> DataLoader[ImageItem]:
        return self.in_order(_Shapes(self.validation_samples, self.size, seed), collate_images)
