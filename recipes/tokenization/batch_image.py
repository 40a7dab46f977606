"""Images to token files: squares of one size, and several views of each if asked for."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from intaglio.codecs import ImageCodec
from intaglio.data.formats.image import read_image
from intaglio.data.formats.open_image import SUFFIXES
from intaglio.data.formats.tokens import Extent, write_tokens
from intaglio.data.image_transforms import VIEWS, to_unit, view
from intaglio.data.manifest import Record
from intaglio.data.pictures import find_images
from intaglio.recipes.tokenization.batch import SourceFile, Tokenizer
from intaglio.recipes.tokenization.image_file import image_item


class Square(NamedTuple):
    """A view of an image, uint8 [3, size, size], and the number of the view."""

    pixels: Tensor
    view: int


class ImageTokenizer(Tokenizer[ImageCodec, Square]):
    """Makes token files of images.

    Args:
        codec: the codec, on its device.
        size: sides of the squares in pixels; the codec's if None.
        views: token files of an image, see `intaglio.data.image_transforms.view`.
        batch_size: images encoded at once.
        entropy: entropy code the ids where that makes a file smaller.

    Raises:
        ValueError: the codec does not take the size, or there is no such number of views.
    """

    kind, noun = "image", "images"
    suffixes = SUFFIXES

    def __init__(
        self,
        codec: ImageCodec,
        *,
        size: int | None = None,
        views: int = 1,
        batch_size: int = 32,
        entropy: bool = False,
    ) -> None:
        super().__init__(codec, entropy=entropy)
        self.size = codec.image_size if size is None else size
        if self.size != codec.image_size and not codec.any_size:
            raise ValueError(f"{codec.name} takes {codec.image_size} pixels, not {self.size}")
        if self.size < 1 or self.size % codec.hop_length:
            raise ValueError(
                f"{codec.name} takes multiples of {codec.hop_length} pixels, not {self.size}"
            )
        if views not in VIEWS:
            raise ValueError(f"there are {', '.join(map(str, VIEWS))} views, not {views}")
        if batch_size < 1:
            raise ValueError(f"a batch must hold some images, got {batch_size}")
        self.views, self.batch_size = views, batch_size

    @property
    def about(self) -> dict[str, Any]:
        """What decides the bytes of a token file, besides its source."""
        return super().about | {"size": self.size, "views": self.views}

    def find(self, source: str) -> tuple[Path, list[Record]]:
        """See `intaglio.data.pictures.find_images`."""
        return find_images(source)

    def _full(self, items: Sequence[Square]) -> bool:
        return len(items) >= self.batch_size

    def _decoded(self, source: SourceFile, path: Path) -> Square:
        return Square(view(read_image(path), self.size, source.view), source.view)

    def _files(self, items: Sequence[Square]) -> list[bytes]:
        device = next(self.codec.parameters()).device
        pixels = torch.stack([item.pixels for item in items])
        tokens = self.codec.encode(to_unit(pixels).to(device))
        files = []
        for number, item in enumerate(items):
            header, ids = image_item(
                self.codec,
                tokens,
                extent=Extent(self.size, self.size),
                item=number,
                extras={"view": str(item.view)} if self.views > 1 else None,
            )
            file = io.BytesIO()
            write_tokens(file, header._replace(coding=self._coding), ids)
            files.append(file.getvalue())
        return files
