"""What acceptance rules gain and cost, with the generator `emoji`: tokens in a pass of every rule,
how far its tokens are from those of plain sampling, and how far its images are.

The images of all rules have the same captions and seeds. They are compared with images that plain
sampling draws with other seeds: plain sampling with the same seeds, which stands beside the rules,
is as far from them as chance makes it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from intaglio.codecs import ImageCodec
from intaglio.codecs import load as load_codec
from intaglio.data.image_transforms import to_pixels
from intaglio.generators import Generator, load
from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.conditioning.text import TextCondition
from intaglio.generators.detokenize import images_of
from intaglio.generators.samplers.sampler import Sampler
from intaglio.generators.samplers.speculative import SpeculativeSampler
from intaglio.recipes.commands.options.speculation import drafter_of, rule_of
from intaglio.recipes.evaluation.figures.canvas import FAINT, OURS, STYLE, WIDTH, png, pyplot
from intaglio.recipes.evaluation.generators.distances import PrincipalAxes, num_components
from intaglio.recipes.evaluation.generators.features import FeatureExtractor, feature_extractor

CAPTIONS = (
    *("red heart", "grinning face", "woman police officer, dark skin tone", "raised hand"),
    *(
        "cat face",
        "red apple",
        "automobile",
        "house",
        "clock",
        "sun",
        "wrapped gift",
        "soccer ball",
    ),
    *("umbrella", "mushroom", "sailboat", "key"),
)
GUIDANCE = Guidance(3.0, "linear")
WINDOW = 8
ITEMS = 128  # of a rule
REFERENCE = 2  # times as many
OTHER_SEEDS = 1_000_000
BATCH = 64
PLAIN = "plain"
EXACT = {"rejection": ("rejection",)}
FAMILIES: dict[str, tuple[str, ...]] = {
    "TV budget": tuple(f"budget:eps={eps}" for eps in (0.02, 0.05, 0.1, 0.2)),
    "annealed": ("annealed:delta=1.1", "annealed:delta=2", "annealed:delta=2,nu=0"),
    "GSD as published": tuple(f"grouped:size={size},corrected=false" for size in (10, 50)),
    "GSD+": tuple(f"grouped:size={size}" for size in (10, 50)),
    "GSD+, bands": tuple(f"grouped:band={band}" for band in (1.5, 4)),
    "GSD-C": tuple(f"coarse:groups={groups}" for groups in (300, 100)),
    "PCG": tuple(f"coarse:groups={groups},shared=2" for groups in (300, 100)),
    "LANTERN": tuple(f"neighbour:count=100,delta={delta}" for delta in (0.02, 0.1)),
    "LANTERN++": tuple(f"neighbour:factor={factor}" for factor in (2, 5)),
}
MARKERS = "oosv^HDPX*"
COLOURS = (
    *("#000000", OURS, "#0072B2", "#999999", "#56B4E9", "#332288"),
    *("#009E73", "#66C2A5", "#CC79A7", "#E69F00"),
)


class Tradeoff(NamedTuple):
    """What a rule gains and costs.

    Attributes:
        family: of rules that differ in a number.
        rule: as ``intaglio sample --accept`` takes it.
        tokens_per_pass: of the generator over an item.
        excess: total variation of a token from plain sampling, or a bound of it, on average.
        distance: Fréchet distance of the images from others of plain sampling.
    """

    family: str
    rule: str
    tokens_per_pass: float
    excess: float
    distance: float


def run(items: int = ITEMS, features: str = "effnet-lite0") -> list[Tradeoff]:
    """Every rule, after plain sampling.

    Args:
        items: to draw with each rule, and twice as many to compare with.
        features: of images; see `feature_extractor`.

    Raises:
        ModuleNotFoundError: a package of the features is missing.
    """
    extractor = feature_extractor(features)
    generator, codec = load("emoji").eval(), load_codec("emoji")
    assert isinstance(codec, ImageCodec)
    study = _Study(generator, codec, extractor, items)
    found = [Tradeoff(PLAIN, "none", 1.0, 0.0, study.distance(Sampler(guidance=GUIDANCE)))]
    rules = [(name, text) for name, texts in (EXACT | FAMILIES).items() for text in texts]
    for family, text in tqdm(rules, desc="rules", disable=None):
        rule = rule_of(text, codec)
        sampler = SpeculativeSampler(
            drafter=drafter_of("jacobi:coupling=maximal", rule),
            rule=rule,
            window=WINDOW,
            guidance=GUIDANCE,
        )
        distance = study.distance(sampler)
        speed, excess = study.tokens / study.passes, study.excess / study.tokens
        found.append(Tradeoff(family, text, speed, excess, distance))
    return found


class _Study:
    """Images of plain sampling, and how far others are from them.

    Attributes:
        tokens, passes, excess: of the last sampler, of all its batches.
    """

    def __init__(
        self, generator: Generator, codec: ImageCodec, extractor: FeatureExtractor, items: int
    ) -> None:
        self.generator, self.codec, self.extractor = generator, codec, extractor
        self.items = items
        self.tokens, self.passes, self.excess = 0, 0, 0.0
        plain = Sampler(guidance=GUIDANCE)
        self.reference = self._features(plain, OTHER_SEEDS, REFERENCE * items)
        self.axes = PrincipalAxes(self.reference, max(1, num_components(items)))

    def distance(self, sampler: Sampler) -> float:
        """Fréchet distance of images of a sampler from those of plain sampling."""
        return self.axes.distance(self._features(sampler, 0, self.items), self.reference)

    def _features(self, sampler: Sampler, seed: int, items: int) -> Tensor:
        assert isinstance(self.generator.condition, TextCondition)
        texts = [CAPTIONS[number % len(CAPTIONS)] for number in range(items)]
        self.tokens, self.passes, self.excess = 0, 0, 0.0
        found = []
        for start in range(0, items, BATCH):
            condition = self.generator.condition.of_texts(texts[start : start + BATCH])
            tokens = sampler.generate(self.generator, condition, seed=seed + start)
            images = to_pixels(images_of(self.generator, self.codec, tokens))
            found.append(self.extractor.extract(list(images)))
            if isinstance(sampler, SpeculativeSampler):
                told = sampler.statistics
                self.tokens += told.tokens
                self.passes += told.item_passes
                self.excess += told.excess
        return torch.cat(found)


def figure(found: Sequence[Tradeoff]) -> bytes:
    """Tokens in a pass over total variation, and over Fréchet distance, as a PNG.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    draw = pyplot()
    panels = (
        ("excess", "total variation of a token", "what a token costs"),
        ("distance", "Fréchet distance of the images", "what an image costs"),
    )
    with draw.rc_context(STYLE):
        drawn, axes = draw.subplots(
            1, 2, figsize=(WIDTH, 4.4), layout="constrained", sharey=True, squeeze=False
        )
        for axis, (field, label, title) in zip(axes[0], panels, strict=True):
            _panel(axis, found, field)
            axis.set_xlabel(label)
            axis.set_title(title, pad=8)
        axes[0][0].set_ylabel("tokens in a pass")
        handles, names = axes[0][0].get_legend_handles_labels()
        drawn.legend(handles, names, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
        return png(drawn)


def _panel(axis: Any, found: Sequence[Tradeoff], field: str) -> None:
    families = [*EXACT, *FAMILIES]
    for family, colour, marker in zip(families, COLOURS, MARKERS, strict=True):
        points = [one for one in found if one.family == family]
        if not points:
            continue
        points.sort(key=lambda one: one.tokens_per_pass)
        axis.plot(
            [getattr(one, field) for one in points],
            [one.tokens_per_pass for one in points],
            color=colour,
            marker=marker,
            markersize=6,
            linewidth=2 if family == "TV budget" else 0.8,
            alpha=0.9,
            label=family,
        )
    for one in found:
        if one.family == PLAIN:
            axis.axhline(one.tokens_per_pass, color=FAINT, linewidth=0.8, linestyle=":")
            axis.axvline(getattr(one, field), color=FAINT, linewidth=0.8, linestyle=":")
