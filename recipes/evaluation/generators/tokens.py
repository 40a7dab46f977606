"""Tokens that generators are evaluated on: sides of a set, and what must fit together."""

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from intaglio.codecs import ImageCodec
from intaglio.codecs.quantizers.multiscale import MultiScaleQuantizer
from intaglio.data.image import UNKNOWN
from intaglio.data.image_transforms import to_pixels
from intaglio.data.manifest import Side
from intaglio.data.tokens import TokenShards, TokenSource
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.detokenize import check_codec
from intaglio.generators.generator import Generator
from intaglio.recipes.evaluation.items import evenly_spaced

BATCH = 32


class TokenSide(NamedTuple):
    """Items of one side of the split.

    Attributes:
        tokens: int64 [items, positions, groups], the first views.
        labels: int64 [items], numbers of the classes, or -1.
        captions: of the items; "" for none.
        views: int64 [items with all views, positions, groups].
        view_labels: int64, of the same.
    """

    tokens: Tensor
    labels: Tensor
    captions: list[str]
    views: Tensor
    view_labels: Tensor

    @property
    def items(self) -> int:
        """How many there are."""
        return self.tokens.shape[0]

    def batch(self, indices: Sequence[int]) -> dict[str, Any]:
        """A batch of some items for `Condition.of_batch`."""
        index = torch.tensor(indices, dtype=torch.int64)
        return {"label": self.labels[index], "caption": [self.captions[n] for n in indices]}


def side_of(data: TokenShards, name: Side, *, limit: int | None = None) -> TokenSide:
    """One side of token shards that are set up.

    Args:
        data: the shards.
        name: of the side.
        limit: at most so many first views, evenly spaced; views are not limited.
    """
    entries = data.readers[name]
    assert data.source is not None
    shape = (prod(data.source.shape), len(data.source.vocab))
    labels = [data.labels.get(entry.record.path, UNKNOWN) for entry in entries]
    many = [label for label, entry in zip(labels, entries, strict=True) for _ in entry.views]
    chosen = evenly_spaced(len(entries), limit)
    none = torch.zeros(0, *shape, dtype=torch.int64)
    return TokenSide(
        torch.stack([entries[one].views[0].long() for one in chosen]) if chosen else none,
        torch.tensor([labels[one] for one in chosen], dtype=torch.int64),
        [entries[one].record.text for one in chosen],
        torch.cat([torch.stack(entry.views).long() for entry in entries]) if entries else none,
        torch.tensor(many, dtype=torch.int64),
    )


def check_fits(generator: Generator, codec: ImageCodec, data: TokenShards) -> None:
    """Refuse a generator, a codec and tokens that do not belong together.

    Raises:
        ValueError: the generator is untrained or drew other tokens, the tokens are of another codec
            or shape, or their classes have other names.
    """
    source = data.source
    assert source is not None
    if generator.provenance is None:
        raise ValueError(f"{generator.name} was never trained: it does not know its codec")
    if source.any_length or generator.end is not None:
        raise ValueError(f"eval needs items of one length; those of {data.root} may have any")
    check_codec(generator, codec)
    check_source(source, codec, data.root)
    shape = tuple(source.shape) if len(generator.shape) > 1 else (prod(source.shape),)
    if generator.shape != shape:
        raise ValueError(
            f"{data.root} has tokens of shape {shape}, {generator.name} draws {generator.shape}"
        )
    known = generator.provenance.classes
    if isinstance(generator.condition, ClassCondition) and known != tuple(data.classes):
        raise ValueError(
            f"{generator.name} was trained on {len(known)} classes, {data.root} has other ones "
            f"({len(data.classes)}): class numbers would not mean the same"
        )


def check_source(source: TokenSource, codec: ImageCodec, root: str) -> None:
    """Refuse tokens of another codec.

    Raises:
        ValueError: the fingerprints differ.
    """
    if source.fingerprint != codec.fingerprint:
        raise ValueError(
            f"{root} has tokens of {source.codec} {source.fingerprint[:12]}, not of {codec.name} "
            f"{codec.fingerprint[:12]}; give the codec that made them"
        )


def pictures_of(codec: ImageCodec, tokens: Tensor, shape: Sequence[int]) -> Tensor:
    """What a codec makes of ids, uint8 [items, 3, height, width] on the CPU.

    Args:
        codec: that made the tokens.
        tokens: int64 [items, positions, groups].
        shape: rows and columns of them, or their number.
    """
    device = next(codec.parameters()).device
    grid = (shape[0], shape[1]) if len(shape) == 2 and codec.any_size else None
    parts = []
    for some in tokens.split(BATCH):
        parts.append(to_pixels(codec.decode(codec.tokens(some.to(device), grid))).cpu())
    return torch.cat(parts)


def section_ends(codec: ImageCodec, positions: int) -> list[int]:
    """Where sections of the tokens end: scales, or powers of two of tokens of falling importance.

    Empty if all tokens of the codec are alike.
    """
    if isinstance(codec.quantizer, MultiScaleQuantizer):
        return list(codec.quantizer.positions)
    if codec.prefixes == "none":
        return []
    powers = [1 << power for power in range(positions.bit_length()) if 1 << power < positions]
    return [*powers, positions]
