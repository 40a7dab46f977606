"""Image codecs, whole and by prefixes of their tokens, next to classic codecs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from intaglio.codecs import ImageCodec, Tokens
from intaglio.data.image_transforms import padded, to_pixels, to_unit
from intaglio.recipes.evaluation.comparison import System, evaluate
from intaglio.recipes.evaluation.image.baselines import ImageBaseline
from intaglio.recipes.evaluation.image.metrics import PSNR
from intaglio.recipes.evaluation.items import Item, ItemSet
from intaglio.recipes.evaluation.rows import Output, SystemResult
from intaglio.recipes.evaluation.scores import Metric
from intaglio.recipes.evaluation.usage import usage_of, usage_record

BATCH = 16


class CodecAtLength(System):
    """An image codec that keeps some or all positions of its tokens.

    Args:
        name: of its row.
        codec: on its device.
        tokens: of the items, in batches, as they are kept.
        seed: of a generative decoder.
    """

    is_ours = True

    def __init__(self, name: str, codec: ImageCodec, tokens: Sequence[Tokens], seed: int) -> None:
        self.name, self.codec, self.tokens, self.seed = name, codec, tokens, seed
        self.bits = codec.bits_per_position * int(tokens[0].mask[0].sum())

    def code(self, items: Sequence[Item]) -> Output:
        """Decode the tokens.

        The fact ``shuffled_psnr`` is the PSNR, in dB, of the images against what the tokens of
        their neighbours decode to: what a codec reaches that ignores its tokens.
        """
        height, width = items[0].content.shape[1:]
        device = next(self.codec.parameters()).device
        decoded: list[Tensor] = []
        for tokens in self.tokens:
            there = tokens._replace(ids=tokens.ids.to(device), mask=tokens.mask.to(device))
            pixels = to_pixels(self.codec.decode(there, seed=self.seed))
            decoded += list(pixels[..., :height, :width])
        facts = size_facts(items, self.bits)
        if len(items) > 1:
            originals = ItemSet(items)
            neighbours = originals.decoded([*decoded[1:], decoded[0]])
            shuffled = PSNR().score(originals, neighbours).mean
            facts |= {} if shuffled is None else {"shuffled_psnr": shuffled}
        facts["tokens"] = usage_record(usage_of(self.tokens))
        return Output(decoded, self.bits, self.tokens, facts=facts)


class SizedBaseline(System):
    """A classic codec, with the bits that it has to match if it matches a size."""

    def __init__(self, baseline: ImageBaseline, bits: float) -> None:
        self.baseline, self.bits, self.name = baseline, bits, baseline.name

    def absence(self) -> str:
        """What is missing and how to install it; "" if nothing is."""
        return self.baseline.absence()

    def code(self, items: Sequence[Item]) -> Output:
        """Encode and decode each image."""
        trips = [self.baseline.roundtrip(item.content, self.bits) for item in items]
        mean = sum(trip.bits for trip in trips) / len(trips)
        return Output([trip.decoded for trip in trips], mean, facts=size_facts(items, mean))


def compare_images(
    codecs: Mapping[str, ImageCodec],
    items: Sequence[Item],
    *,
    metrics: Sequence[Metric],
    baselines: Sequence[ImageBaseline] = (),
    seed: int = 0,
    progress: bool = False,
) -> Iterator[SystemResult]:
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
    if not items or len({item.content.shape for item in items}) != 1:
        raise ValueError(f"{len(items)} images of one size are needed")
    systems = image_systems(codecs, items, baselines, seed=seed, progress=progress)
    yield from evaluate(systems, items, metrics=metrics, seed=seed, progress=progress)


def image_systems(
    codecs: Mapping[str, ImageCodec],
    items: Sequence[Item],
    baselines: Sequence[ImageBaseline] = (),
    *,
    seed: int = 0,
    progress: bool = False,
) -> Iterator[System]:
    """Systems as `compare_images` compares them; each codec encodes the images once."""
    most = 0.0
    for name, codec in codecs.items():
        full = _encoded(codec, items, progress=progress)
        positions = full[0].ids.shape[1]
        for length in lengths_of(codec, positions):
            kept = full if length is None else [codec.first(one, length) for one in full]
            label = name if length is None else f"{name}@{length}"
            system = CodecAtLength(label, codec, kept, seed)
            most = max(most, system.bits)
            yield system
    for baseline in baselines:
        yield SizedBaseline(baseline, most)


def lengths_of(codec: ImageCodec, count: int) -> list[int | None]:
    """Numbers of positions to measure a codec at: all; powers of two too if it learned prefixes."""
    if codec.prefixes == "none":
        return [None]
    return [
        None,
        *reversed([1 << power for power in range(count.bit_length()) if 1 << power < count]),
    ]


def size_facts(items: Sequence[Item], bits: float) -> dict[str, Any]:
    """Pixels a side, and bits per pixel of images that take so many bits each."""
    _, height, width = items[0].content.shape
    return {"size": height, "bits_per_pixel": bits / math.prod((height, width))}


def _encoded(codec: ImageCodec, items: Sequence[Item], *, progress: bool) -> list[Tokens]:
    """Tokens of the images in batches, on the CPU."""
    device = next(codec.parameters()).device
    found = []
    starts = range(0, len(items), BATCH)
    for start in tqdm(starts, desc="encoding", leave=False, disable=None if progress else True):
        pixels = [item.content for item in items[start : start + BATCH]]
        if codec.any_size:
            pixels = [padded(one, codec.hop_length) for one in pixels]
        tokens = codec.encode(to_unit(torch.stack(pixels)).to(device))
        found.append(tokens._replace(ids=tokens.ids.cpu(), mask=tokens.mask.cpu()))
    return found
