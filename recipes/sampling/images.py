"""What is wished of a generator of images, and batch after batch of images drawn."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.codecs import ImageCodec
from intaglio.data.image_transforms import to_pixels, to_unit
from intaglio.generators.conditioning.base import PromptCondition
from intaglio.generators.conditioning.classes import NO_CLASS, ClassCondition
from intaglio.generators.detokenize import check_codec, images_of, tokens_of
from intaglio.generators.generator import Generator
from intaglio.generators.orders.base import PartialSequence
from intaglio.generators.samplers.sampler import Event, Sampler


class ImageRequest(NamedTuple):
    """One image that is wished for.

    Attributes:
        seed: of its random numbers; nothing else but the request decides the image.
        label: number of a class, or -1 for none.
        text: what it should show; empty for no condition.
    """

    seed: int
    label: int = NO_CLASS
    text: str = ""


class InpaintingRegion(NamedTuple):
    """An image of which a part is drawn anew.

    Attributes:
        pixels: uint8 [3, height, width], of a size that the codec takes.
        redrawn: bool [height, width], True where it may change.
    """

    pixels: Tensor
    redrawn: Tensor


class ImagePipeline:
    """A generator, its codec and a sampler: draws images of requests.

    Args:
        generator: on its device, in evaluation mode.
        codec: that it was trained with, on the same device.
        sampler: how tokens are drawn.
        region: of every image, or None to draw whole images.

    Raises:
        ValueError: the codec is another, or the region does not fit it.
    """

    def __init__(
        self,
        generator: Generator,
        codec: ImageCodec,
        sampler: Sampler,
        *,
        region: InpaintingRegion | None = None,
    ) -> None:
        check_codec(generator, codec)
        self.generator, self.codec, self.sampler = generator, codec, sampler
        self.given = None if region is None else self._given(region)

    def draw(
        self, requests: Sequence[ImageRequest], callback: Callable[[Event], None] | None = None
    ) -> Tensor:
        """Images, uint8 [batch, 3, height, width].

        Raises:
            ValueError: there is no such class, or a text is too long.
        """
        size = len(requests)
        given = self.given
        if given is not None:
            given = PartialSequence(given.tokens.expand(size, -1, -1), given.given.expand(size, -1))
        tokens = self.sampler.generate(
            self.generator,
            self._condition(requests),
            seed=torch.tensor([request.seed for request in requests]),
            given=given,
            callback=callback,
        )
        return to_pixels(images_of(self.generator, self.codec, tokens))

    def batches(
        self,
        requests: Sequence[ImageRequest],
        size: int,
        callback: Callable[[Event], None] | None = None,
    ) -> Iterator[tuple[ImageRequest, Tensor]]:
        """Each request with its image, uint8 [3, height, width]; ``size`` are drawn together."""
        for start in range(0, len(requests), size):
            some = requests[start : start + size]
            yield from zip(some, self.draw(some, callback), strict=True)

    def _condition(self, requests: Sequence[ImageRequest]) -> Tensor:
        condition = self.generator.condition
        if isinstance(condition, PromptCondition):
            return condition.of_texts([request.text for request in requests])
        return condition.of_batch({"label": torch.tensor([request.label for request in requests])})

    def _given(self, region: InpaintingRegion) -> PartialSequence:
        """Tokens of the image, and which of them stay: those of squares that may not change."""
        device = next(self.codec.parameters()).device
        images = to_unit(region.pixels).unsqueeze(0).to(device)
        tokens = tokens_of(self.generator, self.codec, images)
        if len(self.generator.shape) != 2:
            raise ValueError(f"{self.codec.name} has no grid: a part of an image has no tokens")
        hop = self.codec.hop_length
        squares = region.redrawn.unflatten(0, (-1, hop)).unflatten(2, (-1, hop))
        redrawn = squares.any(3).any(1).flatten()
        if not bool(redrawn.any()):
            raise ValueError("the mask has no white pixel: there is nothing to draw")
        return PartialSequence(tokens, ~redrawn.unsqueeze(0).to(device))


def class_number(generator: Generator, name: str) -> int:
    """Number of a class by its name or number.

    Raises:
        ValueError: there is no such class, or the generator is told none.
    """
    if not isinstance(generator.condition, ClassCondition):
        raise ValueError(f"{generator.name} is told texts, not classes: use --text")
    names = () if generator.provenance is None else generator.provenance.classes
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < generator.condition.num_classes:
        return int(name)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    known = f"one of {', '.join(near or names[:8])}" if names else "a name; they have none"
    raise ValueError(
        f"there is no class {name!r}: give {known}, or a number below "
        f"{generator.condition.num_classes}"
    )


def title_of(generator: Generator, request: ImageRequest) -> str:
    """What a request tells the generator, in words; empty if nothing."""
    names = () if generator.provenance is None else generator.provenance.classes
    name = names[request.label] if 0 <= request.label < len(names) else str(request.label)
    return request.text or ("" if request.label == NO_CLASS else name)
