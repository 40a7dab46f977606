"""A trained generator's distribution next to the true one, over all sequences of a source."""

from itertools import product

import pytest
import torch

from intaglio.codecs.layers.transformer import Transformer
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.embeddings.base import IdEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.orders.raster import RasterOrder
from intaglio.generators.samplers.sampler import Sampler

CODES, LENGTH, DIM = 4, 8, 48


class Source:
    """Markov of second order: the distribution of a code depends on the two before it."""

    def __init__(self):
        torch.manual_seed(3)
        self.first = torch.distributions.Dirichlet(torch.ones(CODES, CODES**2)[0]).sample()
        self.next = torch.distributions.Dirichlet(0.6 * torch.ones(CODES)).sample((CODES, CODES))
        self.every = torch.tensor(list(product(range(CODES), repeat=LENGTH)))
        distribution = self.first[CODES * self.every[:, 0] + self.every[:, 1]].double()
        for place in range(2, LENGTH):
            a, b, c = self.every[:, place - 2 : place + 1].T
            distribution = distribution * self.next[a, b, c]
        self.distribution = distribution / distribution.sum()

    def draw(self, number):
        return self.every[self.distribution.multinomial(number, replacement=True)].unsqueeze(2)


@pytest.mark.slow
def test_the_distribution_of_every_sequence():
    """The sum over 65,536 sequences is 1; distribution and samples are near the true ones."""
    source = Source()
    generator = Generator(
        Backbone(
            (LENGTH,),
            IdEmbedding((CODES,), DIM),
            ClassCondition(1),
            Transformer(DIM, 2, 4, gated=True, bias=False, norm="rms"),
            learned_positions=True,
        ),
        CategoricalHead(DIM, (CODES,)),
        RasterOrder(),
    )
    optimizer = torch.optim.AdamW(generator.parameters(), 3e-3)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1000)
    label = torch.zeros(256, dtype=torch.int64)
    for _ in range(1000):
        loss = generator.loss(source.draw(256), label).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    generator.eval()
    with torch.no_grad():
        found = torch.cat(
            [
                generator.log_prob(some.unsqueeze(2), label.new_zeros(len(some))).flatten(1).sum(1)
                for some in source.every.split(4096)
            ]
        ).double()
    entropy = float(-torch.special.xlogy(source.distribution, source.distribution).sum()) / LENGTH
    cross = float(-(source.distribution * found).sum()) / LENGTH
    apart = float((found.exp() - source.distribution).abs().sum()) / 2
    alone = source.distribution @ torch.nn.functional.one_hot(source.every, CODES).double().mean(1)
    unigram = float(-torch.special.xlogy(alone, alone).sum())
    print(
        f"sum {float(found.exp().sum()):.8f}, entropy {entropy:.4f}, cross-entropy {cross:.4f}, "
        f"total variation {apart:.3f}, unigram {unigram:.3f}"
    )
    assert float(found.exp().sum()) == pytest.approx(1, abs=1e-5)
    assert 0 <= cross - entropy < 0.01 < unigram - entropy
    assert apart < 0.1
    drawn = Sampler().generate(generator, label.new_zeros(20_000), seed=0)[..., 0]
    places = CODES ** torch.arange(LENGTH - 1, -1, -1)
    half = CODES ** (LENGTH // 2)
    for start in (0, LENGTH // 2):  # of the first codes, and of the last
        part = slice(start, start + LENGTH // 2)
        numbers = (drawn[:, part] * places[LENGTH // 2 :]).sum(1)
        counts = numbers.bincount(minlength=half).double() / len(drawn)
        true = (source.every[:, part] * places[LENGTH // 2 :]).sum(1)
        distribution = torch.zeros(half, dtype=torch.float64).index_add_(
            0, true, source.distribution
        )
        noise = (
            float((distribution * (1 - distribution) / len(drawn)).sqrt().sum())
            * (2 / torch.pi) ** 0.5
            / 2
        )
        assert float((counts - distribution).abs().sum()) / 2 < 2 * noise + 0.03
