"""Pathwise equality for 1,000 seeds, with guidance, at several batch sizes, in float64."""

import pytest
import torch

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.inference.logits import Warp
from intaglio.generators.samplers.sampler import Sampler
from intaglio.generators.samplers.speculative import SpeculativeSampler

SEEDS = 1000
OPTIONS = {"guidance": Guidance(2.5, "linear"), "warp": Warp(0.9, top_k=12)}


def drawn(generator, sampler, size):
    """Tokens of all seeds, drawn in batches of a size."""
    found = []
    for seeds in torch.arange(SEEDS).split(size):
        found.append(sampler.generate(generator, seeds % 3, seed=seeds))
    return torch.cat(found)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 7, 64])
def test_gumbel_match_draws_the_tokens_of_plain_sampling(raster, size):
    generator = raster(shape=(4, 6), vocab=16, dtype=torch.float64)
    plain = drawn(generator, Sampler(**OPTIONS), 250)
    assert torch.equal(drawn(generator, SpeculativeSampler(**OPTIONS), size), plain)
    assert torch.equal(drawn(generator, SpeculativeSampler(window=8, **OPTIONS), size), plain)
