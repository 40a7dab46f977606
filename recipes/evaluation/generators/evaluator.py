"""What scores generators: real items of a token set, decoded once, and probes fitted to them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from intaglio.codecs import ImageCodec
from intaglio.data.formats.printable import counted
from intaglio.data.image_transforms import to_pixels
from intaglio.data.manifest import Side
from intaglio.data.tokens import TokenShards
from intaglio.generators.detokenize import images_of
from intaglio.generators.generator import Generator
from intaglio.generators.samplers.sampler import Sampler
from intaglio.recipes.evaluation.generators.distances import (
    Neighbours,
    PrincipalAxes,
    distinct_share,
    exact_copies,
    independent_kernel_distance,
    num_components,
)
from intaglio.recipes.evaluation.generators.features import FeatureExtractor
from intaglio.recipes.evaluation.generators.probes import (
    CANDIDATES,
    CaptionProbe,
    ClassProbe,
    draw_candidates,
)
from intaglio.recipes.evaluation.generators.tokens import pictures_of, section_ends, side_of
from intaglio.recipes.evaluation.items import evenly_spaced
from intaglio.recipes.evaluation.scores import Metric, Score, Scores, mean_score

BATCH = 32


class Column(Metric):
    """A number of a generator; attributes as of `Metric`."""

    def __init__(
        self, name: str, label: str, *, unit: str = "", higher: bool = True, decimals: int = 3
    ) -> None:
        self.name, self.label, self.unit = name, label, unit
        self.higher_is_better, self.decimals = higher, decimals


class Samples(NamedTuple):
    """Tokens that were drawn or are real, and what they decode to.

    Attributes:
        tokens: [items, positions, width].
        pictures: of them, uint8 [items, 3, height, width].
        features: of the pictures, float64 [items, dim].
    """

    tokens: Tensor
    pictures: Tensor
    features: Tensor


class Likelihood(NamedTuple):
    """How well a model predicts the held-out items.

    Attributes:
        scores: nats of a token and bits of a dimension.
        bits: of an image.
        facts: nats of sections of the tokens, if they have sections.
    """

    scores: Scores
    bits: float
    facts: dict[str, Any]


class GeneratorEvaluator:
    """Real items of a token set, decoded once, with probes and distances fitted to them.

    Args:
        codec: of the tokens, on its device.
        data: token shards that are set up.
        extractor: of features of pictures.
        split: the side to measure on.
        items: to draw; as many as are held out if None.
        limit: training items that probes and distances use; all if None.
        seed: of intervals, candidates and the unigram's samples.

    Attributes:
        held, train, tune: sides of the token set: to measure on, to fit to, and to tune tables on.
        condition_items: number of the held-out item whose condition each drawn item has.
        real_held, real_train: the real items, decoded.

    Raises:
        ValueError: nothing is held out, or there are too few items to train a probe on.
    """

    def __init__(
        self,
        codec: ImageCodec,
        data: TokenShards,
        extractor: FeatureExtractor,
        *,
        split: Side = "test",
        items: int | None = None,
        limit: int | None = None,
        seed: int = 0,
    ) -> None:
        assert data.source is not None
        self.codec, self.extractor, self.seed, self.source = codec, extractor, seed, data.source
        self.train = side_of(data, "train", limit=limit)
        self.held = side_of(data, split)
        self.tune = side_of(data, "validation" if split == "test" else "test")
        if self.held.items < 2 or self.train.items < 2:
            raise ValueError(
                f"{data.root} has {counted(self.held.items, 'item')} of the {split} side and "
                f"{self.train.items} for training; two of each are needed"
            )
        count = items or self.held.items
        once = evenly_spaced(self.held.items, count)
        self.condition_items = [once[number % len(once)] for number in range(count)]
        self.real_train = self.decoded(self.train.tokens)
        self.real_held = self.decoded(self.held.tokens)
        self.pixels = math.prod(self.real_held.pictures.shape[1:])
        self.captions = sorted(set(self.held.captions) - {""})
        self.components = num_components(count, self.held.items, self.train.items)
        self._fit(self.real_train.features)

    def _fit(self, features: Tensor) -> None:
        """Fit probes and distances to real training items."""
        self.neighbours = Neighbours(features)
        self.axes = PrincipalAxes(features, self.components) if self.components else None
        labels, captions = self.train.labels, self.train.captions
        has_classes = len(labels[labels >= 0].unique()) > 1
        self.class_probe = ClassProbe(features, labels) if has_classes else None
        has_captions = len(self.captions) > 1 and any(captions)
        self.caption_probe = CaptionProbe(features, captions) if has_captions else None

    def decoded(self, tokens: Tensor) -> Samples:
        """Ids with their pictures and features."""
        return self._samples(tokens, pictures_of(self.codec, tokens, self.source.shape))

    def columns(self) -> list[Metric]:
        """What is measured, in the order of the table; only what the data allow."""
        found: list[Metric] = [
            Column("nll", "NLL", unit="nats/token", higher=False),
            Column("nll_unconditional", "unconditional", unit="nats/token", higher=False),
            Column("bits_per_dimension", "bits/dim", higher=False, decimals=4),
        ]
        if self.class_probe:
            found.append(Column("class_accuracy", "class"))
        if self.caption_probe:
            found.append(Column("caption_retrieval", f"caption 1/{self.candidates}"))
        label = self.extractor.label
        if self.axes:
            found.append(Column(self._frechet, self._frechet, higher=False, decimals=2))
        kernel = Column(f"KD[{label}]", f"KD[{label}]", unit="×10⁻³", higher=False, decimals=2)
        shares = [
            Column("distinct", "distinct"),
            Column("near_copies", "near copies", higher=False),
            Column("exact_copies", "exact copies", higher=False),
        ]
        return [*found, kernel, *shares]

    @property
    def candidates(self) -> int:
        """Captions to choose from."""
        return min(CANDIDATES, len(self.captions))

    @property
    def _frechet(self) -> str:
        return f"FD[{self.extractor.label},pca{self.components}]"

    def likelihood(self, nats: Tensor) -> Likelihood:
        """Scores of nats, float64 [items, positions], of the held-out tokens."""
        bits = nats.sum(1) / math.log(2)
        scores = {
            "nll": mean_score(nats.mean(1).tolist(), seed=self.seed),
            "bits_per_dimension": mean_score((bits / self.pixels).tolist(), seed=self.seed),
        }
        ends = section_ends(self.codec, nats.shape[1])
        sections = [
            {"from": begin, "to": end, "nll": float(nats[:, begin:end].mean())}
            for begin, end in zip([0, *ends], ends, strict=False)
        ]
        facts = {"sections": sections} if sections else {}
        return Likelihood(scores, float(bits.mean()), facts)

    def distance_scores(self, features: Tensor) -> Scores:
        """Distances of features from those of the held-out items."""
        held = self.real_held.features
        kernel = 1000 * independent_kernel_distance(features, held)
        scores = {f"KD[{self.extractor.label}]": Score.of_set(kernel, len(features))}
        if self.axes:
            distance = self.axes.distance(features, held)
            scores[self._frechet] = Score.of_set(distance, len(features))
        return scores

    def probe_scores(
        self, samples: Samples, items: Sequence[int], *, no_captions: str = ""
    ) -> Scores:
        """Accuracies of the probes, and how new the samples are.

        Args:
            samples: to be classified.
            items: number of the held-out item whose condition each sample has.
            no_captions: why captions are not retrieved; "" if they are.
        """
        scores: Scores = {}
        if self.class_probe:
            labels = self.held.labels[torch.tensor(items)]
            scores["class_accuracy"] = self._mean(
                self.class_probe.correct(samples.features, labels)
            )
        if self.caption_probe:
            scores["caption_retrieval"] = (
                Score.absent(no_captions) if no_captions else self._retrieval(samples, items)
            )
        scores["distinct"] = Score.of_set(distinct_share(samples.tokens), len(items))
        scores["near_copies"] = self._mean(self.neighbours.copies(samples.features))
        if not samples.tokens.is_floating_point():
            scores["exact_copies"] = self._mean(exact_copies(samples.tokens, self.train.views))
        return scores

    def draw(
        self, generator: Generator, sampler: Sampler, *, seed: int = 0, progress: bool = True
    ) -> Samples:
        """Samples of a generator, given the conditions of held-out items.

        Args:
            generator: on its device, in evaluation mode.
            sampler: how.
            seed: of the first item.
            progress: show a bar on standard error, if that is a terminal.
        """
        tokens, pictures = [], []
        starts = range(0, len(self.condition_items), BATCH)
        for start in tqdm(starts, desc="drawing", disable=None if progress else True, leave=False):
            items = self.condition_items[start : start + BATCH]
            condition = generator.condition.of_batch(self.held.batch(items))
            drawn = sampler.generate(generator, condition, seed=seed + start)
            pictures.append(to_pixels(images_of(generator, self.codec, drawn)))
            tokens.append(drawn.cpu())
        return self._samples(torch.cat(tokens), torch.cat(pictures))

    def _samples(self, tokens: Tensor, pictures: Tensor) -> Samples:
        return Samples(tokens, pictures, self.extractor.extract(list(pictures)))

    def _mean(self, values: Sequence[float]) -> Score:
        return mean_score(values, seed=self.seed)

    def _retrieval(self, samples: Samples, items: Sequence[int]) -> Score:
        """Share of samples whose caption is the nearest of the candidates."""
        assert self.caption_probe is not None
        captioned = [n for n, item in enumerate(items) if self.held.captions[item]]
        if not captioned:
            return self._mean([])
        number = {caption: n for n, caption in enumerate(self.captions)}
        correct = [number[self.held.captions[items[n]]] for n in captioned]
        candidates = draw_candidates(
            correct, len(self.captions), candidates=self.candidates, seed=self.seed
        )
        features = samples.features[torch.tensor(captioned)]
        return self._mean(self.caption_probe.retrieved(features, self.captions, candidates))
