"""Handwritten digits as tokens, a classifier of drawn ones, and a training of any generator."""

from typing import NamedTuple

import numpy
import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.svm import SVC
from torch.utils.data import DataLoader

from intaglio.data.tokens import TokenSource
from intaglio.generators.samplers.sampler import Sampler
from intaglio.generators.task import GeneratorTask
from intaglio.recipes.callbacks.ema import ParameterEMA

CODES = 64
HELD_OUT = 360


class Scores(NamedTuple):
    """Of drawn digits: accuracy under the classifier, Fréchet distance, share of distinct ones."""

    accuracy: float
    frechet: float
    distinct: float


class Digits:
    """1,797 pictures of 8 x 8, of which 360 are held out; squares of 2 x 2 as one of 64 codes.

    Attributes:
        pixels: of both sides, float [items, 64], 0 to 1.
        labels: of both sides, int64 [items].
        codes: of both sides, int64 [items, 16, 1], row by row.
        vectors: of both sides, float [items, 16, 4]: the squares, standardised.
    """

    def __init__(self):
        bunch = load_digits()
        order = numpy.random.RandomState(0).permutation(len(bunch.data))
        data = torch.tensor(bunch.data[order] / 16).float()
        labels = torch.tensor(bunch.target[order])
        sides = (slice(HELD_OUT, None), slice(0, HELD_OUT))
        self.pixels, self.labels = ([x[side] for side in sides] for x in (data, labels))
        squares = [self.squares(x) for x in self.pixels]
        flat = squares[0].reshape(-1, 4)
        self.mean, self.std = flat.mean(0), flat.std(0)
        means = KMeans(CODES, n_init=1, random_state=0).fit(flat.numpy())
        self.codebook = torch.tensor(means.cluster_centers_).float()
        self.codes = [
            torch.tensor(means.predict(x.reshape(-1, 4).numpy())).long().view(-1, 16, 1)
            for x in squares
        ]
        self.vectors = [(x - self.mean) / self.std for x in squares]
        self.classifier = SVC(C=10).fit(self.pixels[0].numpy(), self.labels[0].numpy())

    @staticmethod
    def squares(pixels):
        """[items, 64] → [items, 16, 4], row by row."""
        return pixels.view(-1, 4, 2, 4, 2).transpose(2, 3).reshape(-1, 16, 4)

    @staticmethod
    def picture(squares):
        """The inverse of `squares`."""
        return squares.view(-1, 4, 4, 2, 2).transpose(2, 3).reshape(-1, 64)

    def score(self, squares, labels):
        """Scores of drawn squares [items, 16, 4], in grey values."""
        pixels = self.picture(squares).numpy()
        right = self.classifier.predict(pixels) == labels.numpy()
        distance = frechet(pixels, self.pixels[1].numpy())
        distinct = len(numpy.unique(pixels.round(4), axis=0)) / len(pixels)
        return Scores(float(right.mean()), distance, distinct)

    def of_codes(self, codes):
        """Squares of codes [items, 16, 1]."""
        return self.codebook[codes[..., 0]]

    def of_vectors(self, vectors):
        """Squares of standardised vectors."""
        return (vectors * self.std + self.mean).clamp(0, 1)


def frechet(ours, theirs):
    """Fréchet distance of normal fits to two sets of pictures, [items, 64]."""
    means, covariances = zip(*((x.mean(0), numpy.cov(x.T)) for x in (ours, theirs)), strict=True)
    values, vectors = numpy.linalg.eigh(covariances[0])
    half = vectors * values.clip(0) ** 0.5
    roots = numpy.linalg.eigvalsh(half.T @ covariances[1] @ half).clip(0) ** 0.5
    apart = ((means[0] - means[1]) ** 2).sum()
    return float(apart + sum(numpy.trace(one) for one in covariances) - 2 * roots.sum())


class Data(LightningDataModule):
    def __init__(self, tokens, labels, source, batch_size=64):
        super().__init__()
        self.tokens, self.labels, self.source = tokens, labels, source
        self.classes = [str(digit) for digit in range(10)]
        self.batch_size = batch_size

    def training_tokens(self):
        return self.tokens

    def train_dataloader(self):
        items = [{"tokens": x, "label": y} for x, y in zip(self.tokens, self.labels, strict=True)]
        return DataLoader(items, self.batch_size, shuffle=True, drop_last=True)


@pytest.fixture(scope="session")
def digits():
    return Digits()


@pytest.fixture
def trained(digits):
    """Train a generator on the digits by the recipe of the small configurations."""

    def train(generator, tokens, *, steps=2000, rate=2e-3):
        vocab = generator.vocab or (1,) * generator.width
        data = Data(
            tokens, digits.labels[0], TokenSource("k-means", "0" * 32, vocab, generator.shape)
        )
        task = GeneratorTask(
            generator,
            optimizer=lambda p: torch.optim.AdamW(p, lr=rate, betas=(0.9, 0.95), weight_decay=0.05),
            warmup_steps=50,
        )
        if (
            not generator.vocab or generator.backbone.embedding.needs_codec
        ):  # standardised, and lent already
            task.setup = lambda stage: None
        average = ParameterEMA(0.995, "generator")
        trainer = Trainer(
            accelerator="cpu",
            max_steps=steps,
            logger=False,
            callbacks=[average],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(task, data)
        average.on_validation_start(trainer, task)  # the averaged weights replace the live ones
        return generator.eval()

    return train


@pytest.fixture
def drawn(digits):
    """Scores of 100 digits of each class, drawn by a generator."""

    def draw(generator, **options):
        labels = torch.arange(10).repeat(100)
        tokens = torch.cat(
            [
                Sampler(**options).generate(generator, some, seed=500 * number)
                for number, some in enumerate(labels.split(500))
            ]
        )
        squares = digits.of_codes(tokens) if generator.vocab else digits.of_vectors(tokens)
        return digits.score(squares, labels)

    return draw
