"""Block refinement where the truth is known: how far it is from it, and from plain sampling."""

import torch

from intaglio.generators.samplers.block_refinement import BlockRefinement
from intaglio.generators.samplers.sampler import Sampler
from intaglio.recipes.benchmarks import refinement

ITEMS = 1500


def test_the_generator_knows_the_distribution_and_refinement_does_not_reach_it():
    target, small = refinement.known_generator(), refinement.known_generator(correlation=0.4)
    truth = target.order.exact(ITEMS, seed=0)
    chance = refinement.distance(target.order.exact(ITEMS, seed=1), truth, target.order)

    def distance(sampler, generator=target):
        drawn = sampler.generate(generator, torch.zeros(ITEMS, dtype=torch.int64))
        return refinement.distance(drawn[..., 0], truth, target.order)

    plain, drafted = distance(Sampler()), distance(Sampler(), small)
    strict, loose = (
        distance(BlockRefinement(small, block=4, tolerance=tolerance)) for tolerance in (0.1, 1.0)
    )
    assert plain < 1.4 * chance < strict < loose < 1.1 * drafted
    single = BlockRefinement(small, block=1, tolerance=0)
    assert distance(single) < 1.4 * chance
    assert distance(Sampler(steps=5)) > strict  # in as many passes


def test_the_benchmark_stands_beside_plain_sampling_in_as_many_passes(monkeypatch):
    monkeypatch.setattr(refinement, "BLOCKS", (8,))
    monkeypatch.setattr(refinement, "TOLERANCES", (0.3,))
    (found,) = refinement.run(50)
    assert found.name == "blocks of 8, tolerance 0.3, 3 passes"
    assert found.baseline_name == "plain, 3 passes"
    assert found.speedup == found.baseline / found.ours
    assert "in 9 passes" in found.note
