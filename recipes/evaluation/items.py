"""What is evaluated: which records of a data set, and the items that are read from them."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from torch import Tensor
from tqdm import tqdm

from intaglio.data.formats.printable import counted
from intaglio.data.manifest import Record, source_key, split_of
from intaglio.recipes.errors import explain_file, say


class Item(NamedTuple):
    """A recording or an image to be coded.

    Attributes:
        name: such as its path in its data set.
        content: waveform, float [samples], in [-1, 1]; or pixels, uint8 [3, height, width].
        sample_rate: of a waveform, in Hz; 0 of an image.
        text: transcript or caption; "" if unknown.
        speaker: of a recording; "" if unknown.
        source: what it was made from; items of one source are held out together.
    """

    name: str
    content: Tensor
    sample_rate: int = 0
    text: str = ""
    speaker: str = ""
    source: str = ""


Features = Callable[[Sequence[Tensor]], Tensor]  # contents of items to [items, dim]


class ItemSet:
    """Items with their features by several networks, each computed once if at all."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = list(items)
        self._features: dict[Features, Tensor] = {}

    def __len__(self) -> int:
        return len(self.items)

    @property
    def contents(self) -> list[Tensor]:
        """Waveforms or pixels."""
        return [item.content for item in self.items]

    def features(self, network: Features) -> Tensor:
        """Features of the contents by a network, [items, dim]."""
        if network not in self._features:
            self._features[network] = network(self.contents)
        return self._features[network]

    def decoded(self, contents: Sequence[Tensor]) -> "ItemSet":
        """The same items as a system decoded them."""
        pairs = zip(self.items, contents, strict=True)
        return ItemSet([item._replace(content=content) for item, content in pairs])


def evenly_spaced(total: int, count: int | None = None) -> list[int]:
    """Indices of ``count`` of ``total`` things, evenly spaced from 0 on; all if None or too many.

    >>> evenly_spaced(10, 3)
    [0, 3, 6]
    """
    count = total if count is None else min(count, total)
    return [number * total // count for number in range(count)]


def choose(
    found: Sequence[Record],
    side: str,
    *,
    shares: tuple[float, float],
    seed: int = 0,
    limit: int | None = None,
) -> list[Record]:
    """Records to evaluate on.

    Args:
        found: all records of a data set, sorted.
        side: "test", "validation" or "all".
        shares: of validation and test in the split.
        seed: of the split.
        limit: at most so many, evenly spaced over the data set; all of them if None.

    Raises:
        ValueError: none is left, or a limit below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"--limit must be at least 1, got {limit}")
    chosen = [
        record
        for record in found
        if side == "all" or split_of(source_key(record), shares, seed) == side
    ]
    if not chosen:
        raise ValueError(
            f"none of {counted(len(found), 'file')} is in the {side} split; use --split all"
        )
    return [chosen[index] for index in evenly_spaced(len(chosen), limit)]


def read_items(
    folder: Path, chosen: Sequence[Record], read: Callable[[Record], Item]
) -> list[Item]:
    """Items of records; damaged files are named on standard error and left out.

    Args:
        folder: what their paths are relative to.
        chosen: which ones.
        read: reads one.

    Raises:
        ValueError: none can be read.
    """
    items = []
    for record in tqdm(chosen, desc="reading", unit="file", disable=None, leave=False):
        try:
            items.append(read(record))
        except Exception as error:
            say(f"skipped: {explain_file(record.path, error)}")
    if not items:
        raise ValueError(f"none of {counted(len(chosen), 'file')} in {folder} can be read")
    return items


class Named(Protocol):
    """Something with a name, such as a codec or a generator."""

    @property
    def name(self) -> str:
        """Its name."""


T = TypeVar("T", bound=Named)


def by_name(things: Sequence[T]) -> dict[str, T]:
    """Codecs or generators by name; the second of the same name is ``NAME#2``."""
    found: dict[str, T] = {}
    names: Counter[str] = Counter()
    for thing in things:
        names[thing.name] += 1
        count = names[thing.name]
        found[thing.name if count == 1 else f"{thing.name}#{count}"] = thing
    return found
