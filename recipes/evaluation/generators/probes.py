"""Linear probes on features of items: the class of one, and its caption or text by retrieval.

Of generators they are trained on the decoded tokens of real training items, so that real held-out
items, decoded by the same codec, show what a perfect generator would reach.
"""

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from intaglio.generators.conditioning.text import parts, words

STEPS = 200  # of L-BFGS
WEIGHT_PENALTY = 1e-3  # of the squared weights of standardised features, in nats of an item
RIDGE = 0.1  # the same of the captions, as a share of the items
BUCKETS = 1024  # of hashed parts of words
CANDIDATES = 50


class Standardisation:
    """Features with mean 0 and standard deviation 1 over the training items.

    Args:
        features: float64 [items, dim].
    """

    def __init__(self, features: Tensor) -> None:
        self.mean = features.mean(0)
        self.std = features.std(0, correction=0).clamp_min(1e-6)

    def __call__(self, features: Tensor) -> Tensor:
        """Standardised, divided by the root of their number: of length 1 on average."""
        return (features - self.mean) / self.std / features.shape[1] ** 0.5


class ClassProbe:
    """Logistic regression.

    Args:
        features: of real training items, float64 [items, dim].
        labels: int64 [items]; those below 0 are left out.

    Raises:
        ValueError: fewer than two classes.
    """

    def __init__(self, features: Tensor, labels: Tensor) -> None:
        known = labels >= 0
        features, labels = features[known], labels[known]
        if len(labels.unique()) < 2:
            raise ValueError(f"a probe needs items of two classes, got {len(labels.unique())}")
        self.standardise = Standardisation(features)
        x = self.standardise(features)
        count = int(labels.max()) + 1
        self.weight = torch.zeros(x.shape[1], count, dtype=x.dtype, requires_grad=True)
        self.bias = torch.zeros(count, dtype=x.dtype, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [self.weight, self.bias], max_iter=STEPS, line_search_fn="strong_wolfe"
        )

        def loss() -> Tensor:
            optimizer.zero_grad()
            penalty = WEIGHT_PENALTY * self.weight.square().sum() / x.shape[1]
            value = F.cross_entropy(x @ self.weight + self.bias, labels) + penalty
            value.backward()
            return value

        with torch.enable_grad():
            optimizer.step(loss)
        self.weight.requires_grad_(False)
        self.bias.requires_grad_(False)

    def correct(self, features: Tensor, labels: Tensor) -> list[float]:
        """1 for each item whose class is predicted, 0 for others; unlabelled ones left out."""
        known = labels >= 0
        predicted = (self.standardise(features[known]) @ self.weight + self.bias).argmax(1)
        return (predicted == labels[known]).double().tolist()


class CaptionProbe:
    """Ridge regression from features to weighted bags of words of captions.

    Args:
        features: of real training items, float64 [items, dim].
        captions: of the same.
    """

    def __init__(self, features: Tensor, captions: Sequence[str]) -> None:
        self.standardise = Standardisation(features)
        bags = bags_of(captions)
        self.rarity = ((1 + len(bags)) / (1 + (bags > 0).sum(0))).log()
        targets = self._weighted(bags)
        self.centre = targets.mean(0)
        x = self.standardise(features)
        gram = x.T @ x + RIDGE * len(x) / x.shape[1] * torch.eye(x.shape[1], dtype=x.dtype)
        self.weight = torch.linalg.solve(gram, x.T @ (targets - self.centre))

    def retrieved(
        self, features: Tensor, captions: Sequence[str], candidates: Tensor
    ) -> list[float]:
        """1 where the caption of an item is the nearest of several, 0 where another is.

        Args:
            features: float64 [items, dim].
            captions: different ones to choose from.
            candidates: int64 [items, candidates], their numbers; the correct one is the first.
        """
        vectors = F.normalize(self._weighted(bags_of(captions)) - self.centre, dim=1)
        predicted = self.standardise(features) @ self.weight
        scores = (predicted @ vectors.T).gather(1, candidates)
        return (scores[:, :1] > scores[:, 1:]).all(1).double().tolist()

    def _weighted(self, bags: Tensor) -> Tensor:
        return F.normalize(bags * self.rarity, dim=1)


def bags_of(captions: Sequence[str]) -> Tensor:
    """How often hashed parts of words occur in each caption, float64 [captions, `BUCKETS`]."""
    bags = torch.zeros(len(captions), BUCKETS, dtype=torch.float64)
    for number, caption in enumerate(captions):
        for word in words(caption):
            for part in parts(word):
                bags[number, zlib.crc32(part.encode()) % BUCKETS] += 1
    return bags


def draw_candidates(
    correct: Sequence[int], count: int, *, candidates: int = CANDIDATES, seed: int = 0
) -> Tensor:
    """The number of each item's caption, then those of others, int64 [items, candidates].

    Args:
        correct: number of the caption of each item.
        count: different captions.
        candidates: to choose from, the correct one among them; all captions if there are fewer.
        seed: of the draw.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for own in correct:
        others = torch.randperm(count - 1, generator=generator)[: candidates - 1]
        rows.append(torch.cat([torch.tensor([own]), others + (others >= own)]))
    return torch.stack(rows)
