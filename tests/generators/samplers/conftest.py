"""Distributions to draft for; and the test that all exact samplers pass: every item as often as the
generator draws it.
"""

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from intaglio.generators.generator import Generator
from intaglio.generators.samplers.sampler import Sampler

VOCAB = 8


class Pair(NamedTuple):
    """Target and draft distributions, float64 [vocab]."""

    p: Tensor
    q: Tensor


def pair(share: float, seed: int) -> Pair:
    """A draft distribution that is ``share`` of the way from the target to another one."""
    torch.manual_seed(seed)
    p, other = torch.distributions.Dirichlet(torch.ones(VOCAB, dtype=torch.float64)).sample((2,))
    return Pair(p, (1 - share) * p + share * other)


@pytest.fixture(scope="session")
def pairs() -> dict[str, Pair]:
    """Target and draft distributions, close, medium and far from each other."""
    return {"close": pair(0.2, 0), "medium": pair(0.6, 1), "far": pair(1.0, 2)}


@pytest.fixture(scope="session")
def edges(pairs: dict[str, Pair]) -> dict[str, Pair]:
    """Those of which a rule may divide by zero."""
    far, one_hot = pairs["far"], torch.eye(VOCAB).double()
    return {
        "equal": Pair(far.p, far.p),
        "disjoint": Pair(one_hot[:4].mean(0), one_hot[4:].mean(0)),
        "certain draft": Pair(far.p, one_hot[3]),
        "certain target": Pair(one_hot[3], far.q),
        "narrow draft": Pair(far.p, one_hot[2:4].mean(0)),
    }


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
