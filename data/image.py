"""Images for training codecs and generators: a folder, a manifest or a named set to batches."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from intaglio.data.formats.image import WHITE, Colour
from intaglio.data.formats.open_image import SUFFIXES
from intaglio.data.image_transforms import Fit, flipped, shifted, to_unit
from intaglio.data.listing import Damage
from intaglio.data.manifest import Record
from intaglio.data.modules import Folder
from intaglio.data.pictures import Fitting, Picture, PictureReader, classes_of, scan_images
from intaglio.data.transforms import generator_of

UNKNOWN = -1  # label of an image without a class


class ImageItem(NamedTuple):
    """One image of a batch: float32 [3, size, size] in [-1, 1], and what is known of it."""

    image: Tensor
    label: int
    caption: str
    path: str


class Images(Dataset[ImageItem]):
    """Images as they are; or, by (pass, index), drawn from the seed, the pass and the index alone.

    Args:
        reader: of the images.
        labels: number of each class by the path of a record.
        flip: share of images that are mirrored.
        shift: pixels that an image may be moved by.
        seed: of all that is drawn.
    """

    def __init__(
        self,
        reader: PictureReader,
        labels: dict[str, int],
        *,
        flip: float = 0.0,
        shift: int = 0,
        seed: int = 0,
    ) -> None:
        self.reader, self.labels = reader, labels
        self.flip, self.shift, self.seed = flip, shift, seed

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, key: int | tuple[int, int]) -> ImageItem:
        if isinstance(key, int):
            return self.reader.read_or_next(key, self._whole)
        number, index = key
        return self.reader.read_or_next(index, lambda i: self._drawn(number, i))

    def _drawn(self, number: int, index: int) -> ImageItem:
        generator = generator_of(self.seed, number, index)
        pixels = flipped(self.reader.read(index), self.flip, generator)
        return self._item(shifted(pixels, self.shift, generator), index)

    def _whole(self, index: int) -> ImageItem:
        return self._item(self.reader.read(index), index)

    def _item(self, pixels: Tensor, index: int) -> ImageItem:
        file = self.reader.files[index]
        label = self.labels.get(file.record.path, UNKNOWN)
        return ImageItem(to_unit(pixels), label, file.record.text, str(file.path))


def collate_images(items: list[ImageItem]) -> dict[str, Any]:
    """Batch ``image`` [batch, 3, size, size], ``label`` [batch], lists ``caption`` and ``path``."""
    images, labels, captions, paths = zip(*items, strict=True)
    return {
        "image": torch.stack(images),
        "label": torch.tensor(labels),
        "caption": list(captions),
        "path": list(paths),
    }


class ImageFolder(Folder):
    """Images of any folder, manifest or fetched set, as squares of one size.

    Batches are dictionaries of ``image``, float32 [batch, 3, size, size] in [-1, 1]; ``label``,
    int64 [batch], the number of an image's class in `classes`, or -1; and the lists ``caption``
    (the text of a manifest) and ``path``. What is drawn for training, and the order, are functions
    of the seed and the epoch, whatever the number of workers. Several processes read disjoint
    images, and a resumed training goes on with the batch after the checkpoint's last. Validation
    and test batches are neither mirrored nor moved.

    Images of one source, or with the same caption, fall on the same side of the split; images
    without both are split by their path. Classes are the labels of a manifest, or, where no image
    has one, the folders directly below the root. Files that cannot be read are named with the
    reason and replaced by other images.

    Args:
        root: a folder searched at any depth, a ``.jsonl`` manifest (a folder's ``manifest.jsonl``
            counts as one), or the name of a set fetched with ``intaglio data get``.
        size: sides of the squares in pixels.
        batch_size: images in a batch of each process; incomplete training batches are dropped.
        num_workers: processes that read; 0 reads in the main one, which is best with ``cache``.
        validation_share: share of the sources kept for validation.
        test_share: share of the sources kept for the test.
        seed: of split, order and all that is drawn.
        fit: ``crop`` brings the shorter side to ``size`` and cuts out the middle, ``letterbox``
            brings the longer one there and fills up with the background.
        background: red, green and blue, 0 to 255, behind what is transparent.
        flip: share of the training images that are mirrored left to right.
        shift: pixels that a training image may be moved by in each direction.
        min_side: images with a shorter side are left out.
        max_bad_share: share of files that may be damaged before the run stops.
        cache: keep all images decoded in memory, 3 bytes a pixel.
        samples_per_epoch: images in an epoch; by default as many as there are for training, but at
            least one batch.

    Attributes:
        classes: names of the classes, sorted; from `setup` on.

    Raises:
        ValueError: in `setup`: no images, none for training, too many damaged files.
        FileNotFoundError: in `setup`: nothing at ``root``.
    """

    kind, noun, suffixes = "image", "image", SUFFIXES
    collate_training = staticmethod(collate_images)
    collate_whole = staticmethod(collate_images)

    def __init__(
        self,
        root: str,
        size: int,
        *,
        batch_size: int = 16,
        num_workers: int = 0,
        validation_share: float = 0.05,
        test_share: float = 0.05,
        seed: int = 0,
        fit: Fit = "crop",
        background: Colour = WHITE,
        flip: float = 0.0,
        shift: int = 0,
        min_side: int = 1,
        max_bad_share: float = 0.01,
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
        if size < 1 or not 0 <= shift < size or not 0 <= flip <= 1:
            raise ValueError(
                f"cannot move squares of {size} pixels by {shift} and mirror a share of {flip}"
            )
        if fit not in ("crop", "letterbox"):
            raise ValueError(f"images are fitted by crop or letterbox, not by {fit}")
        if len(background) != 3 or not all(0 <= value <= 255 for value in background):
            raise ValueError(f"a background is three numbers from 0 to 255, got {background}")
        self.fitting = Fitting(size, fit, background)
        self.flip, self.shift, self.min_side, self.cache = flip, shift, min_side, cache
        self.classes: list[str] = []
        self.labels: dict[str, int] = {}

    def scanned(self, folder: Path, records: Sequence[Record], damage: Damage) -> list[Picture]:
        """Images whose headers can be read; the classes are those of all records."""
        of_path = classes_of(records)
        self.classes = sorted(set(of_path.values()) - {""})
        number = {name: i for i, name in enumerate(self.classes)}
        self.labels = {path: number[name] for path, name in of_path.items() if name}
        return scan_images(folder, records, damage)

    def chosen(self, files: list[Picture]) -> tuple[list[Picture], str]:
        """Images that are large enough."""
        return self.kept(
            files,
            lambda file: min(file.info) >= self.min_side,
            f"with a side below {self.min_side} pixels",
        )

    def reader(self, files: list[Picture], damage: Damage) -> PictureReader:
        """Reader of the images of one side of the split."""
        return PictureReader(files, self.fitting, damage, cache=self.cache)

    def training_items(self, reader: PictureReader) -> Images:
        """Images mirrored and moved."""
        return Images(reader, self.labels, flip=self.flip, shift=self.shift, seed=self.seed)

    def whole_items(self, reader: PictureReader) -> Images:
        """Images as they are."""
        return Images(reader, self.labels)
