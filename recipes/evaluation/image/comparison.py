"""Image codecs and classic codecs, measured in the same way on the same images."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from intaglio.codecs import ImageCodec, Tokens
from intaglio.data.image_transforms import padded, to_pixels, to_unit
from intaglio.recipes.evaluation.image.baselines import ImageBaseline
from intaglio.recipes.evaluation.image.features import ImageSet
from intaglio.recipes.evaluation.image.metrics import PSNR, ImageMetric
from intaglio.recipes.evaluation.scores import Scores

BATCH = 16


class ImageItem(NamedTuple):
    """An image to be coded: its name and its pixels, uint8 [3, height, width], all of one size."""

    name: str
    pixels: Tensor


class ImageRow(NamedTuple):
    """One system in a comparison.

    Attributes:
        system: name of the codec, with the number of its positions if it keeps some only.
        bits: that the receiver of an image needs, mean of the items; None if it did not run.
        bits_per_pixel: the same over the pixels.
        scores: by name of the metric; empty if it did not run.
        items: number of images coded.
        note: why the system did not run; "" if it did.
        is_ours: it is a codec under test.
        shuffled: PSNR, dB, of the images against what the tokens of other images decode to: what a
            codec reaches that ignores its tokens; None unless it is a codec under test.
    """

    system: str
    bits: float | None
    bits_per_pixel: float | None
    scores: Scores
    items: int
    note: str = ""
    is_ours: bool = False
    shuffled: float | None = None


class ImageResult(NamedTuple):
    """A row, what the system made of the images, and the tokens if it is a codec under test."""

    row: ImageRow
    decoded: list[Tensor]
    tokens: list[Tokens]


def lengths_of(codec: ImageCodec, count: int) -> list[int | None]:
    """Numbers of positions to measure a codec at: all; powers of two too if it learned prefixes."""
    if codec.prefixes == "none":
        return [None]
    return [
        None,
        *reversed([1 << power for power in range(count.bit_length()) if 1 << power < count]),
    ]


def compare_images(
    codecs: Mapping[str, ImageCodec],
    items: Sequence[ImageItem],
    *,
    metrics: Sequence[ImageMetric],
    baselines: Sequence[ImageBaseline] = (),
    seed: int = 0,
    progress: bool = False,
) -> Iterator[ImageResult]:
    """Code every image with the codecs and the baselines and measure all of them.

    Args:
        codecs: under test, by their names in the table; one that was trained with prefixes is also
            measured at fewer positions.
        items: images of one size.
        metrics: what to measure.
        baselines: what to compare with; those that match a size match that of the codec with the
            most bits, at full length.
        seed: of the bootstrap intervals and of a generative decoder.
        progress: show a bar on standard error, if that is a terminal.

    Yields:
        Each codec, at fewer and fewer positions, then the baselines.

    Raises:
        ValueError: no items, or items of different sizes.
    """
    if not items or len({item.pixels.shape for item in items}) != 1:
        raise ValueError(f"{len(items)} images of one size are needed")
    measure = _Measure(items, metrics, seed)
    target = 0.0
    with tqdm(desc="coding", unit="image", disable=None if progress else True) as bar:
        for name, codec in codecs.items():
            full = [_tokens(codec, batch, bar) for batch in _batches(items)]
            positions = full[0].ids.shape[1]
            target = max(target, codec.bits_per_position * positions)
            for length in lengths_of(codec, positions):
                kept = full if length is None else [codec.first(one, length) for one in full]
                decoded = [one for tokens in kept for one in _decoded(codec, tokens, items, seed)]
                bits = codec.bits_per_position * (length or positions)
                label = name if length is None else f"{name}@{length}"
                yield ImageResult(measure.row(label, bits, decoded, ours=True), decoded, kept)
        for baseline in baselines:
            if reason := baseline.absence():
                yield ImageResult(ImageRow(baseline.name, None, None, {}, 0, reason), [], [])
                continue
            trips = []
            for item in items:
                trips.append(baseline.roundtrip(item.pixels, target))
                bar.update()
            mean = sum(trip.bits for trip in trips) / len(trips)
            decoded = [trip.decoded for trip in trips]
            yield ImageResult(measure.row(baseline.name, mean, decoded, ours=False), decoded, [])


class _Measure:
    """Rows of systems, measured on the same originals."""

    def __init__(
        self, items: Sequence[ImageItem], metrics: Sequence[ImageMetric], seed: int
    ) -> None:
        self.originals = ImageSet([item.pixels for item in items])
        self.metrics, self.seed = metrics, seed

    def row(self, system: str, bits: float, decoded: list[Tensor], *, ours: bool) -> ImageRow:
        made = ImageSet(decoded)
        scores = {one.name: one.score(self.originals, made, self.seed) for one in self.metrics}
        per_pixel = bits / math.prod(decoded[0].shape[1:])
        shuffled = _shuffled(self.originals, decoded, self.seed) if ours else None
        return ImageRow(system, bits, per_pixel, scores, len(decoded), "", ours, shuffled)


def _shuffled(originals: ImageSet, decoded: list[Tensor], seed: int) -> float | None:
    """PSNR of images against the reconstructions of their neighbours; None if there is but one."""
    if len(decoded) < 2:
        return None
    return PSNR().score(originals, ImageSet([*decoded[1:], decoded[0]]), seed).mean


def _batches(items: Sequence[ImageItem]) -> Iterator[Tensor]:
    for start in range(0, len(items), BATCH):
        yield torch.stack([item.pixels for item in items[start : start + BATCH]])


def _tokens(codec: ImageCodec, pixels: Tensor, bar: tqdm) -> Tokens:
    if codec.any_size:
        pixels = torch.stack([padded(one, codec.hop_length) for one in pixels])
    device = next(codec.parameters()).device
    tokens = codec.encode(to_unit(pixels).to(device))
    bar.update(len(pixels))
    return tokens._replace(ids=tokens.ids.cpu(), mask=tokens.mask.cpu())


def _decoded(
    codec: ImageCodec, tokens: Tokens, items: Sequence[ImageItem], seed: int
) -> list[Tensor]:
    device = next(codec.parameters()).device
    there = tokens._replace(ids=tokens.ids.to(device), mask=tokens.mask.to(device))
    height, width = items[0].pixels.shape[1:]
    return list(to_pixels(codec.decode(there, seed=seed))[..., :height, :width])
