"""Images of a folder or a manifest: checked, and read at one size, from their files or memory."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from intaglio.data import listing
from intaglio.data.formats.image import WHITE, Colour, ImageInfo, probe_image, read_image
from intaglio.data.formats.open_image import SUFFIXES
from intaglio.data.image_transforms import Fit, fitted
from intaglio.data.listing import Damage, each, read_or_next
from intaglio.data.manifest import Record

T = TypeVar("T")


class Picture(NamedTuple):
    """A readable file: its number among all that were found, its size and its record."""

    number: int
    path: Path
    info: ImageInfo
    record: Record


class Fitting(NamedTuple):
    """How images become squares: see `intaglio.data.image_transforms.fitted`."""

    size: int
    fit: Fit = "crop"
    background: Colour = WHITE


def find_images(root: str | Path) -> tuple[Path, list[Record]]:
    """Records of a data set of images; see `intaglio.data.listing.find`."""
    return listing.find(root, SUFFIXES, kind="image")


def scan_images(folder: Path, records: Sequence[Record], damage: Damage) -> list[Picture]:
    """Images whose headers can be read; the others go to ``damage``."""
    paths = [folder / record.path for record in records]

    def check(number: int) -> Picture:
        return Picture(number, paths[number], probe_image(paths[number]), records[number])

    return [found for found in each(check, paths, damage) if found is not None]


def classes_of(records: Sequence[Record]) -> dict[str, str]:
    """Class of each image by its path, "" if it has none.

    Where no record has a label, the folders directly below the root are the classes.
    """
    if any(record.label for record in records):
        return {record.path: record.label for record in records}
    return {record.path: record.path.rpartition("/")[0].partition("/")[0] for record in records}


class PictureReader:
    """Square images of one size.

    Args:
        files: what can be read; with ``cache``, images whose pixels are damaged are left out.
        fitting: how they become squares.
        damage: collects the images that cannot be read.
        cache: decode everything now and keep it, 3 bytes a pixel.
    """

    def __init__(
        self, files: Sequence[Picture], fitting: Fitting, damage: Damage, *, cache: bool = False
    ) -> None:
        self.files, self.fitting, self.damage = list(files), fitting, damage
        self._cache: Tensor | None = None
        if cache:
            self._fill()

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int) -> Tensor:
        """Pixels, uint8 [3, size, size], of an image.

        Raises:
            ValueError, OSError: the image cannot be read.
        """
        if self._cache is not None:
            return self._cache[index]
        return self._decoded(index)

    def read_or_next(self, index: int, read: Callable[[int], T]) -> T:
        """``read(index)``, or that of the next image that can be read, telling of the damage.

        Raises:
            ValueError: not one image can be read.
        """
        return read_or_next(index, read, self.damage, self.files)

    def _decoded(self, index: int) -> Tensor:
        size, fit, background = self.fitting
        pixels = read_image(self.files[index].path, background=background)
        return fitted(pixels, size, fit, background=background)

    def _fill(self) -> None:
        size = self.fitting.size
        kept = torch.zeros(len(self.files), 3, size, size, dtype=torch.uint8)

        def decode(index: int) -> bool:
            kept[index] = self._decoded(index)
            return True

        numbers = [file.number for file in self.files]
        done = each(decode, [file.path for file in self.files], self.damage, numbers)
        good = [index for index, fine in enumerate(done) if fine]
        self.files = [self.files[index] for index in good]
        self._cache = kept if len(good) == len(done) else kept[good]
