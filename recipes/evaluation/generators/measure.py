"""What measures generators: real items of a set of tokens, decoded and seen once."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from intaglio.codecs import ImageCodec
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
from intaglio.recipes.evaluation.generators.features import FeatureNetwork
from intaglio.recipes.evaluation.generators.probes import (
    CANDIDATES,
    CaptionJudge,
    ClassJudge,
    draw_choices,
)
from intaglio.recipes.evaluation.generators.tokens import pictures_of, section_ends, side_of
from intaglio.recipes.evaluation.scores import Metric, Score, Scores, mean_score

BATCH = 32


class Column(Metric):
    """A number of a generator; attributes as of `Metric`."""

    def __init__(
        self, name: str, label: str, *, unit: str = "", higher: bool = True, decimals: int = 3
    ) -> None:
        self.name, self.label, self.unit = name, label, unit
        self.higher_is_better, self.decimals = higher, decimals


class Drawn(NamedTuple):
    """What a system drew.

    Attributes:
        tokens: [items, positions, width].
        pictures: of them, uint8 [items, 3, height, width].
        features: of the pictures, float64 [items, dim].
    """

    tokens: Tensor
    pictures: Tensor
    features: Tensor


class Likelihood(NamedTuple):
    """What a law says of held-out items.

    Attributes:
        scores: nats of a token and bits of a dimension.
        bits: of an image.
        facts: nats of parts of the tokens, if they have parts.
    """

    scores: Scores
    bits: float
    facts: dict[str, Any]


class Bench:
    """Real items of a set of tokens, decoded and seen once, and what measures others by them.

    Args:
        codec: of the tokens, on its device.
        data: token shards that are set up.
        network: sees the pictures.
        split: the side to measure on.
        items: to draw; as many as are held out if None.
        limit: training items that judges and distances use; all if None.
        seed: of intervals, candidates and the unigram's samples.

    Attributes:
        places: number of the held-out item whose condition each drawn item has.

    Raises:
        ValueError: nothing is held out, or there are too few items to train a judge on.
    """

    def __init__(
        self,
        codec: ImageCodec,
        data: TokenShards,
        network: FeatureNetwork,
        *,
        split: Side = "test",
        items: int | None = None,
        limit: int | None = None,
        seed: int = 0,
    ) -> None:
        assert data.source is not None
        self.codec, self.network, self.seed, self.source = codec, network, seed, data.source
        self.train = side_of(data, "train", limit=limit)
        self.held = side_of(data, split)
        self.tune = side_of(data, "validation" if split == "test" else "test")
        if self.held.items < 2 or self.train.items < 2:
            raise ValueError(
                f"{data.root} has {self.held.items} items of the {split} side and "
                f"{self.train.items} for training; two of each are needed"
            )
        count = items or self.held.items
        step = min(count, self.held.items)
        self.places = [number % step * self.held.items // step for number in range(count)]
        self.reals = self.seen(self.train.tokens)
        self.truth = self.seen(self.held.tokens)
        self.pixels = math.prod(self.truth.pictures.shape[1:])
        self.captions = sorted(set(self.held.captions) - {""})
        self.components = num_components(count, self.held.items, self.train.items)
        self._teach(self.reals.features)

    def _teach(self, features: Tensor) -> None:
        """What real training items teach."""
        self.neighbours = Neighbours(features)
        self.axes = PrincipalAxes(features, self.components) if self.components else None
        labels, captions = self.train.labels, self.train.captions
        several = len(labels[labels >= 0].unique()) > 1
        self.class_judge = ClassJudge(features, labels) if several else None
        worded = len(self.captions) > 1 and any(captions)
        self.caption_judge = CaptionJudge(features, captions) if worded else None

    def seen(self, tokens: Tensor) -> Drawn:
        """Ids with their pictures and features."""
        return self._drawn(tokens, pictures_of(self.codec, tokens, self.source.shape))

    def columns(self) -> list[Metric]:
        """What is measured, in the order of the table; only what the data allow."""
        found: list[Metric] = [
            Column("nll", "NLL", unit="nats/token", higher=False),
            Column("nll_untold", "unconditional", unit="nats/token", higher=False),
            Column("bits_per_dimension", "bits/dim", higher=False, decimals=4),
        ]
        if self.class_judge:
            found.append(Column("class_accuracy", "class"))
        if self.caption_judge:
            found.append(Column("caption_retrieval", f"caption 1/{self.candidates}"))
        label = self.network.label
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
        return f"FD[{self.network.label},pca{self.components}]"

    def likelihood(self, nats: Tensor) -> Likelihood:
        """What nats [items, positions] say."""
        each = nats.mean(1).tolist()
        bits = (nats.sum(1) / math.log(2)).tolist()
        even = [1.0] * len(each)
        scores = {
            "nll": mean_score(each, even, [], self.seed),
            "bits_per_dimension": mean_score([b / self.pixels for b in bits], even, [], self.seed),
        }
        ends = section_ends(self.codec, nats.shape[1])
        sections = [
            {"from": begin, "to": end, "nll": float(nats[:, begin:end].mean())}
            for begin, end in zip([0, *ends], ends, strict=False)
        ]
        return Likelihood(scores, sum(bits) / len(bits), {"sections": sections} if sections else {})

    def against_held(self, features: Tensor) -> Scores:
        """Distances of features from those of the held-out items."""
        kernel = 1000 * independent_kernel_distance(features, self.truth.features)
        scores = {f"KD[{self.network.label}]": _plain(kernel, len(features))}
        if self.axes:
            distance = self.axes.distance(features, self.truth.features)
            scores[self._frechet] = _plain(distance, len(features))
        return scores

    def judged(self, drawn: Drawn, places: Sequence[int], *, captions: str = "") -> Scores:
        """What the judges say of items, and how new they are.

        Args:
            drawn: the items.
            places: number of the held-out item that each should be like.
            captions: why no caption is looked for; "" if it is.
        """
        scores: Scores = {}
        if self.class_judge:
            right = self.class_judge.right(drawn.features, self.held.labels[torch.tensor(places)])
            scores["class_accuracy"] = self._share(right)
        if self.caption_judge:
            scores["caption_retrieval"] = self._retrieval(drawn, places, captions)
        scores["distinct"] = _plain(distinct_share(drawn.tokens), len(places))
        scores["near_copies"] = self._share(self.neighbours.copies(drawn.features))
        if not drawn.tokens.is_floating_point():
            scores["exact_copies"] = self._share(exact_copies(drawn.tokens, self.train.views))
        return scores

    def draw(
        self, generator: Generator, sampler: Sampler, *, seed: int = 0, progress: bool = True
    ) -> Drawn:
        """Items of a generator, told what the held-out items are told.

        Args:
            generator: on its device, in evaluation mode.
            sampler: how.
            seed: of the first item.
            progress: show a bar on standard error, if that is a terminal.
        """
        tokens, pictures = [], []
        starts = range(0, len(self.places), BATCH)
        for start in tqdm(starts, desc="drawing", disable=None if progress else True, leave=False):
            places = self.places[start : start + BATCH]
            told = generator.condition.of_batch(self.held.batch(places))
            some = sampler.generate(generator, told, seed=seed + start)
            pictures.append(to_pixels(images_of(generator, self.codec, some)))
            tokens.append(some.cpu())
        return self._drawn(torch.cat(tokens), torch.cat(pictures))

    def _drawn(self, tokens: Tensor, pictures: Tensor) -> Drawn:
        return Drawn(tokens, pictures, self.network.see(list(pictures)))

    def _share(self, values: Sequence[float]) -> Score:
        return mean_score(values, [1.0] * len(values), [], self.seed)

    def _retrieval(self, drawn: Drawn, places: Sequence[int], absent: str) -> Score:
        if absent:
            return Score(None, None, None, 0, 0, absent)
        assert self.caption_judge is not None
        asked = [n for n, place in enumerate(places) if self.held.captions[place]]
        if not asked:
            return self._share([])
        number = {caption: n for n, caption in enumerate(self.captions)}
        right = [number[self.held.captions[places[n]]] for n in asked]
        choices = draw_choices(
            right, len(self.captions), candidates=self.candidates, seed=self.seed
        )
        return self._share(
            self.caption_judge.found(drawn.features[torch.tensor(asked)], self.captions, choices)
        )


def _plain(value: float, count: int) -> Score:
    return Score(value, None, None, count, 0)
