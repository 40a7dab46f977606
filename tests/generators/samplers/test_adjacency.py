"""Drafts from a table of successors: what it learns, and that items keep their distribution."""

import pytest
import torch

from intaglio.generators.inference.logits import Warp
from intaglio.generators.orders.base import PartialSequence
from intaglio.generators.samplers.acceptance.exact import GumbelMatch, ModifiedRejection
from intaglio.generators.samplers.acceptance.multi_draft import SampleMatch
from intaglio.generators.samplers.drafters.adjacency import (
    UNKNOWN,
    AdjacencyDrafter,
    Successors,
    branching_tree,
)
from intaglio.generators.samplers.sampler import Sampler
from intaglio.generators.samplers.speculative import SpeculativeSampler

VOCAB, SHAPE, ITEMS = 4, (2, 2), 6_000
FALSE_ALARM = 1e-6


def test_a_table_knows_the_last_successors_of_ids_and_of_pairs():
    table = Successors.empty(5, 2, torch.device("cpu"))
    ids, above = torch.tensor([3, 3, 1, 3]), torch.tensor([2, 5, UNKNOWN, 2])
    successors = torch.tensor([[4, 0], [2, 1], [0, 3], [1, 4]])
    table.learn(ids, above, successors, torch.tensor([True, True, True, False]))
    asked = torch.tensor([[3, 2], [3, 5], [3, 4], [3, UNKNOWN], [1, 2], [0, 2]])
    found = table.of(asked[:, 0], asked[:, 1]).tolist()
    assert found == [[4, 0], [2, 1], [2, 1], [2, 1], [0, 3], [0, 1]]


def test_drafts_are_the_likeliest_ids_of_the_table(raster):
    """With one column, where each token has another above its successor."""
    generator = raster(shape=(6,), vocab=6, dtype=torch.float64)
    drafter = AdjacencyDrafter((2, 1))
    sampler = SpeculativeSampler(drafter=drafter, window=4)
    sampler.generate(generator, torch.tensor([1]))
    learned = [table.last.clone() for table in drafter.tables]
    assert learned[0].shape == (6, 2)
    assert not torch.equal(learned[0], torch.arange(2).repeat(6, 1))
    generator.head.linear.weight.data.zero_()
    sampler.generate(generator, torch.tensor([1]))
    assert not torch.equal(drafter.tables[0].last, learned[0])
    assert branching_tree((2, 2, 1), 5, torch.device("cpu")).parents.tolist() == [[0, 0, 1, 1, 2]]
    assert branching_tree((1, 1), 5, torch.device("cpu")) is None


def test_what_was_learned_is_of_use(raster):
    """A generator of few words: most tokens follow from the one before."""
    generator = raster(shape=(4, 4), vocab=6, dtype=torch.float64)
    generator.head.linear.weight.data.mul_(4)
    condition = torch.arange(12) % 3
    drafter = AdjacencyDrafter((2, 1, 1))
    sampler = SpeculativeSampler(drafter=drafter, rule=SampleMatch(), window=6)
    sampler.generate(generator, condition)
    before = sampler.statistics.tokens_per_pass
    sampler.generate(generator, condition, seed=100)
    assert sampler.statistics.tokens_per_pass > 1.2
    assert sampler.statistics.tokens_per_pass > 0.9 * before


@pytest.mark.parametrize("branching", [(2, 2), (1, 1, 1)])
def test_drafts_of_a_table_give_the_distribution_of_the_target(p_value, raster, branching):
    generator = raster(shape=SHAPE, vocab=VOCAB, dtype=torch.float64)
    rule = SampleMatch() if branching == (2, 2) else ModifiedRejection()
    sampler = SpeculativeSampler(drafter=AdjacencyDrafter(branching), rule=rule, window=6)
    assert p_value(generator, sampler, ITEMS) > FALSE_ALARM
    assert sampler.statistics.tokens_per_pass > 1.1


@pytest.mark.slow
def test_drafts_of_a_table_in_many_items(p_value, raster):
    generator = raster(shape=SHAPE, vocab=VOCAB, dtype=torch.float64)
    for rule in (SampleMatch(), GumbelMatch()):
        sampler = SpeculativeSampler(drafter=AdjacencyDrafter((3, 2)), rule=rule, window=9)
        found = p_value(generator, sampler, 50_000)
        print(f"{type(rule).__name__}: p = {found:.3g}, {sampler.statistics.tokens_per_pass:.2f}")
        assert found > FALSE_ALARM


@pytest.mark.parametrize("shape", [(4, 4), (12,)])
def test_gumbel_match_draws_the_tokens_of_plain_sampling(raster, shape):
    generator = raster(shape=shape, vocab=8, dtype=torch.float64)
    condition, warp = torch.arange(8) % 3, Warp(0.9, top_k=6)
    plain = Sampler(warp=warp).generate(generator, condition, seed=3)
    for window, branching in ((3, (3, 2)), (12, (3, 2, 1, 1, 1)), (4, (1,) * 4)):
        sampler = SpeculativeSampler(drafter=AdjacencyDrafter(branching), window=window, warp=warp)
        assert torch.equal(sampler.generate(generator, condition, seed=3), plain)
    lengths = torch.arange(8)
    given = PartialSequence(plain, torch.arange(plain.shape[1]) < lengths[:, None])
    assert torch.equal(sampler.generate(generator, condition, seed=3, given=given), plain)
    with pytest.raises(ValueError, match="1 draft or more"):
        AdjacencyDrafter(())
