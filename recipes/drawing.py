"""What is wished of a generator of images, and batch after batch of images drawn."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.codecs import ImageCodec
from intaglio.data.fitting import to_pixels, to_unit
from intaglio.generators.conditioning.base import PromptCondition
from intaglio.generators.conditioning.classes import NO_CLASS, ClassCondition
from intaglio.generators.decoding import check_codec, images_of, tokens_of
from intaglio.generators.generator import Generator
from intaglio.generators.orders.base import Canvas
from intaglio.generators.samplers.sampler import Event, Sampler


class Wish(NamedTuple):
    """One image that is wished for.

    Attributes:
        seed: of its random numbers; nothing else but the wish decides the image.
        label: number of a class, or -1 for none.
        text: what it should show; empty for no condition.
    """

    seed: int
    label: int = NO_CLASS
    text: str = ""


class Gap(NamedTuple):
    """An image of which a part is drawn anew.

    Attributes:
        pixels: uint8 [3, height, width], of a size that the codec takes.
        redrawn: bool [height, width], True where it may change.
    """

    pixels: Tensor
    redrawn: Tensor


class Painter:
    """A generator, its codec and a sampler: draws images of wishes.

    Args:
        generator: on its device, in evaluation mode.
        codec: that it was trained with, on the same device.
        sampler: how tokens are drawn.
        gap: of every image, or None to draw whole images.

    Raises:
        ValueError: the codec is another, or the gap does not fit it.
    """

    def __init__(
        self,
        generator: Generator,
        codec: ImageCodec,
        sampler: Sampler,
        *,
        gap: Gap | None = None,
    ) -> None:
        check_codec(generator, codec)
        self.generator, self.codec, self.sampler = generator, codec, sampler
        self.given = None if gap is None else self._given(gap)

    def paint(
        self, wishes: Sequence[Wish], callback: Callable[[Event], None] | None = None
    ) -> Tensor:
        """Images, uint8 [batch, 3, height, width].

        Raises:
            ValueError: there is no such class, or a text is too long.
        """
        size = len(wishes)
        given = self.given
        if given is not None:
            given = Canvas(given.tokens.expand(size, -1, -1), given.given.expand(size, -1))
        tokens = self.sampler.generate(
            self.generator,
            self._condition(wishes),
            seed=torch.tensor([wish.seed for wish in wishes]),
            given=given,
            callback=callback,
        )
        return to_pixels(images_of(self.generator, self.codec, tokens))

    def batches(
        self,
        wishes: Sequence[Wish],
        size: int,
        callback: Callable[[Event], None] | None = None,
    ) -> Iterator[tuple[Wish, Tensor]]:
        """Each wish with its image, uint8 [3, height, width]; ``size`` are drawn together."""
        for start in range(0, len(wishes), size):
            some = wishes[start : start + size]
            yield from zip(some, self.paint(some, callback), strict=True)

    def _condition(self, wishes: Sequence[Wish]) -> Tensor:
        condition = self.generator.condition
        if isinstance(condition, PromptCondition):
            return condition.of_texts([wish.text for wish in wishes])
        return condition.of_batch({"label": torch.tensor([wish.label for wish in wishes])})

    def _given(self, gap: Gap) -> Canvas:
        """Tokens of the image, and which of them stay: those of squares that may not change."""
        device = next(self.codec.parameters()).device
        images = to_unit(gap.pixels).unsqueeze(0).to(device)
        tokens = tokens_of(self.generator, self.codec, images)
        if len(self.generator.shape) != 2:
            raise ValueError(f"{self.codec.name} has no grid: a part of an image has no tokens")
        hop = self.codec.hop_length
        squares = gap.redrawn.unflatten(0, (-1, hop)).unflatten(2, (-1, hop))
        redrawn = squares.any(3).any(1).flatten()
        if not bool(redrawn.any()):
            raise ValueError("the mask has no white pixel: there is nothing to draw")
        return Canvas(tokens, ~redrawn.unsqueeze(0).to(device))


def class_number(generator: Generator, name: str) -> int:
    """Number of a class by its name or number.

    Raises:
        ValueError: there is no such class, or the generator is told none.
    """
    if not isinstance(generator.condition, ClassCondition):
        raise ValueError(f"{generator.name} is told texts, not classes: use --text")
    names = () if generator.origin is None else generator.origin.classes
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


def title_of(generator: Generator, wish: Wish) -> str:
    """What a wish tells the generator, in words; empty if nothing."""
    names = () if generator.origin is None else generator.origin.classes
    name = names[wish.label] if 0 <= wish.label < len(names) else str(wish.label)
    return wish.text or ("" if wish.label == NO_CLASS else name)
