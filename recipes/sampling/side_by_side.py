"""Plain and speculative sampling of the same requests, one image at a time: pictures and times."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from intaglio.codecs import ImageCodec
from intaglio.data.formats.atomic import replacing
from intaglio.generators.generator import Generator
from intaglio.generators.samplers.sampler import Sampler
from intaglio.generators.samplers.speculative import SpeculativeSampler
from intaglio.recipes.sampling.images import PNGImages, write_grid
from intaglio.recipes.sampling.requests import SampleRequest, condition_of


class SamplerTimes(NamedTuple):
    """What two samplers took for the same images.

    Attributes:
        plain, speculative: seconds of all images together.
        passes: of the speculative sampler, of an image on average.
        tokens_per_pass: of the speculative sampler.
        equal: images whose tokens both drew.
    """

    plain: float
    speculative: float
    passes: float
    tokens_per_pass: float
    equal: int


def side_by_side(
    generator: Generator,
    codec: ImageCodec,
    requests: Sequence[SampleRequest],
    samplers: tuple[Sampler, SpeculativeSampler],
    *,
    grid: Path,
) -> SamplerTimes:
    """Draw each request with both samplers and write the images, one sampler a row, as one PNG.

    Args:
        generator: on its device, in evaluation mode.
        codec: that it was trained with, on the same device.
        requests: one for each column.
        samplers: the plain one and the other.
        grid: file to write; the images are written beside it.

    Raises:
        OSError: a file cannot be written.
        ValueError: the generator is one that cannot be drawn so, or has another codec.
    """
    medium, names = PNGImages(generator, codec), ("plain", "speculative")
    seconds, passes, tokens_drawn, equal = [0.0, 0.0], 0, 0, 0
    files: tuple[list[Path], list[Path]] = ([], [])
    samplers[0].generate(generator, condition_of(generator, requests[:1]))  # to warm up
    for number, request in enumerate(requests):
        drawn = []
        for one, sampler in enumerate(samplers):
            condition = condition_of(generator, [request])
            begun = time.perf_counter()
            tokens = sampler.generate(generator, condition, seed=request.seed).cpu()
            seconds[one] += time.perf_counter() - begun
            drawn.append(tokens)
            path = grid.parent / f"{names[one]}{number}.png"
            with replacing(path) as part:
                part.write_bytes(medium.to_bytes(medium.decode(tokens)[0]))
            files[one].append(path)
        equal += bool(torch.equal(*drawn))
        found = samplers[1].statistics
        passes, tokens_drawn = passes + found.item_passes, tokens_drawn + found.tokens
    write_grid(grid, [*files[0], *files[1]], names, columns=len(requests))
    plain, speculative = seconds
    return SamplerTimes(plain, speculative, passes / len(requests), tokens_drawn / passes, equal)
