"""Constrained sampling: allowed items only; weighted they have the generator's distribution."""

from itertools import product

import pytest
import torch
from scipy.stats import chi2, norm

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.inference.logits import Warp
from intaglio.generators.orders.base import PartialSequence
from intaglio.generators.samplers import constrained
from intaglio.generators.samplers.constrained import AllowedIds, CheckedIds, ConstrainedSampler
from intaglio.generators.samplers.sampler import Sampler

VOCAB, LENGTH = 3, 4
ITEMS = {AllowedIds: 4_000, CheckedIds: 800}
FALSE_ALARM = 1e-6
EVERY = torch.tensor(list(product(range(VOCAB), repeat=LENGTH)))


def follows(prefix, id):
    """No id stands beside itself, and no item begins with 0."""
    return id != (int(prefix[-1]) if len(prefix) else 0)


def listed(prefix):
    last = prefix[:, -1] if prefix.shape[1] else torch.zeros(len(prefix), dtype=torch.int64)
    return torch.arange(VOCAB) != last.unsqueeze(1)


CONSTRAINTS = {"allowed": AllowedIds(listed), "checked": CheckedIds(follows)}


@pytest.fixture
def generator(raster):
    return raster(shape=(LENGTH,), vocab=VOCAB, dtype=torch.float64)


def probabilities(generator):
    """Of every item, by the generator; and bool, which are allowed."""
    with torch.no_grad():
        found = generator.log_prob(EVERY.unsqueeze(-1), torch.ones(len(EVERY), dtype=torch.int64))
    allowed = (EVERY.diff(dim=1) != 0).all(1) & (EVERY[:, 0] != 0)
    return found.sum(1).exp(), allowed


def drawn(generator, constraint):
    sampler = ConstrainedSampler(constraint)
    condition = torch.ones(ITEMS[type(constraint)], dtype=torch.int64)
    items = sampler.generate(generator, condition, seed=0)[..., 0]
    index = (items * VOCAB ** torch.arange(LENGTH - 1, -1, -1)).sum(1)
    return index, sampler.log_weights.exp()


def worst_p_value(generator, constraint):
    """Of normal tests that the weights of each item have the sum that they must have."""
    p, allowed = probabilities(generator)
    index, weights = drawn(generator, constraint)
    assert bool(allowed[index].all())
    one = torch.nn.functional.one_hot(index, len(EVERY)).double() * weights.unsqueeze(1)
    one = torch.cat([one, weights.unsqueeze(1)], dim=1)
    expected = torch.cat([p * allowed, (p * allowed).sum()[None]])
    possible = expected * len(index) > 20
    z = (one.mean(0) - expected) / (one.std(0) / len(index) ** 0.5).clamp_min(1e-12)
    return 2 * float(norm.sf(float(z[possible].abs().max())))


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_weighted_items_have_the_distribution_of_the_generator(generator, name):
    assert worst_p_value(generator, CONSTRAINTS[name]) > FALSE_ALARM


def test_unweighted_items_have_that_of_renormalised_draws(generator):
    p, allowed = probabilities(generator)
    index, weights = drawn(generator, AllowedIds(listed))
    law = torch.zeros(len(EVERY), dtype=torch.float64)
    law[index] = p[index] / weights  # the weight belongs to the item
    expected = law * len(index)
    kept = expected >= 5
    counts = index.bincount(minlength=len(EVERY)).double()
    statistic = ((counts - expected).square() / expected)[kept].sum()
    assert float(chi2.sf(float(statistic), int(kept.sum()) - 1)) > FALSE_ALARM


def test_tested_ids_are_those_that_a_list_gives(generator):
    options = {"guidance": Guidance(2.0), "warp": Warp(0.8)}
    condition = torch.arange(30) % 3
    found = [
        ConstrainedSampler(one, **options).generate(generator, condition, seed=5)
        for one in CONSTRAINTS.values()
    ]
    assert torch.equal(*found)
    alone = ConstrainedSampler(CONSTRAINTS["checked"], **options)
    assert torch.equal(alone.generate(generator, condition[3:4], seed=8), found[0][3:4])


def test_without_a_constraint_it_is_plain_sampling(generator):
    condition = torch.arange(12) % 3
    plain = Sampler().generate(generator, condition, seed=1)
    everything = AllowedIds(lambda prefix: torch.ones(len(prefix), VOCAB, dtype=torch.bool))
    for constraint in (everything, CheckedIds(lambda prefix, id: True)):
        sampler = ConstrainedSampler(constraint)
        assert torch.equal(sampler.generate(generator, condition, seed=1), plain)
        assert sampler.log_weights.abs().max() < 1e-6


def test_no_id_is_tested_twice(generator):
    asked = []

    def allows(prefix, id):
        asked.append((tuple(prefix.tolist()), id))
        return follows(prefix, id)

    ConstrainedSampler(CheckedIds(allows)).generate(generator, torch.zeros(1, dtype=torch.int64))
    assert len(asked) == len(set(asked)) >= LENGTH


def test_items_of_any_length_and_given_tokens_count_where_ids_are_drawn(raster):
    generator = raster(shape=(LENGTH,), vocab=VOCAB, dtype=torch.float64, end_of_sequence=True)
    end = generator.end

    def allowed(prefix):  # an item ends at its second position or later
        found = torch.ones(len(prefix), VOCAB + 1, dtype=torch.bool)
        found[:, end] = prefix.shape[1] >= 2
        return found

    sampler = ConstrainedSampler(AllowedIds(allowed))
    condition = torch.arange(40) % 3
    found = sampler.generate_sequences(generator, condition, seed=2)
    assert int(found.mask.sum(1).min()) >= 2
    assert (sampler.log_weights <= 0).all() and sampler.log_weights.min() < 0
    given = PartialSequence(found.tokens[:, :2], torch.ones(40, 2, dtype=torch.bool))
    sampler.generate_sequences(generator, condition, seed=2, given=given)
    assert sampler.log_weights.abs().max() < 1e-6  # everything is allowed from there on


def test_what_cannot_go_on_is_named(generator):
    nothing = AllowedIds(lambda prefix: torch.zeros(len(prefix), VOCAB, dtype=torch.bool))
    for constraint in (nothing, CheckedIds(lambda prefix, id: False)):
        with pytest.raises(ValueError, match=r"no id that is allowed at position 0 .* items \[0"):
            ConstrainedSampler(constraint).generate(generator, torch.zeros(2, dtype=torch.int64))


def test_orders_that_draw_otherwise_are_refused(masked):
    with pytest.raises(ValueError, match="one id after the other"):
        ConstrainedSampler(CONSTRAINTS["allowed"]).generate(masked(), torch.zeros(1).long())


def one_draw_more(monkeypatch):
    """The estimate is that of a fixed number of draws, 2 / N."""
    right = CheckedIds._tried

    def tried(self, log_probs, prefix, keys):
        found = right(self, log_probs, prefix, keys)
        return found[0], found[1] / 2 + 1

    monkeypatch.setattr(CheckedIds, "_tried", tried)


def repeats_are_free(monkeypatch):
    """Draws of ids that were refused before are not counted."""
    monkeypatch.setattr(constrained, "_failures", lambda share, numbers: 0)


def no_weights(monkeypatch):
    """Items are taken as draws from the generator."""
    right = AllowedIds.draw

    def draw(self, log_probs, prefix, draws):
        ids, weights = right(self, log_probs, prefix, draws)
        return ids, torch.zeros_like(weights)

    monkeypatch.setattr(AllowedIds, "draw", draw)


WRONG = {"checked": [one_draw_more, repeats_are_free], "allowed": [no_weights]}


@pytest.mark.parametrize(("name", "change"), [(k, f) for k, all in WRONG.items() for f in all])
def test_the_test_fails_on_wrong_weights(monkeypatch, generator, name, change):
    change(monkeypatch)
    assert worst_p_value(generator, CONSTRAINTS[name]) < FALSE_ALARM
