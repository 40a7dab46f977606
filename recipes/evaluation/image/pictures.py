"""Images of an evaluation: read, and cropped to squares."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.data.formats.image import read_image
from intaglio.data.image_transforms import fitted
from intaglio.data.manifest import Record
from intaglio.recipes.evaluation.items import Item, read_items


def read_pictures(folder: Path, chosen: Sequence[Record], size: int) -> list[Item]:
    """Images cropped to squares of ``size`` pixels; damaged ones are named and left out.

    Raises:
        ValueError: none can be read.
    """

    def read(record: Record) -> Item:
        return Item(record.path, fitted(read_image(folder / record.path), size), text=record.text)

    return read_items(folder, chosen, read)
