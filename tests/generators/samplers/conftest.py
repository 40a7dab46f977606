"""The test that all exact samplers pass: every item as often as the generator draws it."""

from collections.abc import Callable
from itertools import product

import pytest
import torch
from scipy.stats import chi2

from intaglio.generators.generator import Generator
from intaglio.generators.samplers.sampler import Sampler


@pytest.fixture(scope="session")
def p_value() -> Callable[[Generator, Sampler, int], float]:
    """Of a chi-square test of all items that there are; for an unguided sampler."""

    def found(generator: Generator, sampler: Sampler, items: int) -> float:
        vocab, length = generator.vocab[0], generator.positions
        every = torch.tensor(list(product(range(vocab), repeat=length))).unsqueeze(-1)
        condition = torch.ones(len(every), dtype=torch.int64)
        with torch.no_grad():
            expected = items * generator.log_prob(every, condition).sum(1).exp()
        drawn = sampler.generate(generator, torch.ones(items, dtype=torch.int64), seed=0)[..., 0]
        basis = vocab ** torch.arange(length - 1, -1, -1)
        counts = (drawn * basis).sum(1).bincount(minlength=len(every)).double()
        rare = expected < 5
        if rare.any():
            counts = torch.cat([counts[~rare], counts[rare].sum()[None]])
            expected = torch.cat([expected[~rare], expected[rare].sum()[None]])
        statistic = ((counts - expected).square() / expected).sum()
        return float(chi2.sf(float(statistic), len(expected) - 1))

    return found
