"""Block refinement: what it promises, since no distribution is promised."""

import math

import pytest
import torch

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.orders.base import PartialSequence
from intaglio.generators.orders.masked import MaskedOrder
from intaglio.generators.samplers.block_refinement import BlockRefinement
from intaglio.generators.samplers.sampler import Sampler

CONDITION = torch.arange(6) % 3
STEPS = 4


@pytest.fixture
def pair(flowing):
    """A target and a small generator of vectors in one order, which differ."""
    found = []
    for seed in (0, 1):
        one = flowing()
        torch.manual_seed(seed)
        for parameter in one.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        found.append(one.double().eval())
    return found


@pytest.mark.parametrize("guidance", [Guidance(), Guidance(2.0, "linear")])
def test_of_blocks_of_one_step_without_tolerance_it_is_plain_sampling(pair, guidance):
    target, small = pair
    plain = Sampler(guidance=guidance).generate(target, CONDITION, seed=3)
    sampler = BlockRefinement(small, block=1, tolerance=0, guidance=guidance)
    torch.testing.assert_close(sampler.generate(target, CONDITION, seed=3), plain)
    assert sampler.statistics.accepted == 0
    own = BlockRefinement(target, block=1, tolerance=1e-3, guidance=guidance)
    torch.testing.assert_close(own.generate(target, CONDITION, seed=3), plain)
    assert own.statistics.accepted == own.statistics.drafts > 0


def test_with_any_tolerance_the_tokens_are_the_drafters(pair):
    target, small = pair
    sampler = BlockRefinement(small, block=1, tolerance=math.inf, prefill=0)
    drawn = sampler.generate(target, CONDITION, seed=3)
    torch.testing.assert_close(drawn, Sampler().generate(small, CONDITION, seed=3))


@pytest.mark.parametrize("tolerance", [0, 0.3, math.inf])
@pytest.mark.parametrize(("block", "passes"), [(1, 4), (2, 3), (3, 2), (8, 2)])
def test_passes_do_not_depend_on_what_is_kept(pair, block, passes, tolerance):
    target, small = pair
    sampler = BlockRefinement(small, block=block, tolerance=tolerance, prefill=0.25, steps=STEPS)
    sampler.generate(target, CONDITION)
    found = sampler.statistics
    assert found.passes == passes and found.tokens == len(CONDITION) * STEPS
    assert found.drafts == len(CONDITION) * (STEPS - 1)
    assert found.tokens_per_pass == STEPS / passes
    assert math.isnan(found.excess)


def test_items_do_not_depend_on_their_batch(pair):
    target, small = pair
    target.mean += 0.5  # each has its own units
    target.std *= 2
    sampler = BlockRefinement(small, block=2, tolerance=3.0, guidance=Guidance(2.0, "linear"))
    events = []
    drawn = sampler.generate(target, CONDITION, seed=3, callback=events.append)
    assert len(events) >= 2 and 0 < sampler.statistics.accepted < sampler.statistics.drafts
    alone = sampler.generate(target, CONDITION[4:5], seed=7)
    torch.testing.assert_close(alone, drawn[4:5])
    given = PartialSequence(drawn.roll(1, 0), torch.rand(6, 4) < torch.arange(6)[:, None] / 5)
    found = sampler.generate(target, CONDITION, seed=3, given=given)
    assert torch.equal(found[given.given], given.tokens[given.given])
    assert bool(found.isfinite().all()) and bool((found[~given.given] != 0).all())


def test_what_does_not_fit_is_refused(pair, flowing, masked):
    target, small = pair
    with pytest.raises(ValueError, match="does not draw vectors in a random order"):
        BlockRefinement(masked())
    with pytest.raises(ValueError, match="does not draw vectors in a random order"):
        BlockRefinement(small).generate(masked(), CONDITION)
    with pytest.raises(ValueError, match="no drafts for"):
        BlockRefinement(flowing(width=5).double().eval()).generate(target, CONDITION)
    other = flowing(order=MaskedOrder(16, reveal="random", schedule="linear")).double().eval()
    with pytest.raises(ValueError, match="by the schedule linear"):
        BlockRefinement(other).generate(target, CONDITION)
    for wrong in ({"block": 0}, {"tolerance": -1}, {"prefill": 2}):
        with pytest.raises(ValueError, match="a block has 1 step or more"):
            BlockRefinement(small, **wrong)


def test_it_says_first_that_it_is_approximate():
    assert BlockRefinement.__doc__.startswith("Approximate: ")
