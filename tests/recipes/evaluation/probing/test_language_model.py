"""The language model of tokens: close to the entropy of sources whose entropy is known."""

import math

import pytest
import torch

from intaglio.recipes.evaluation.probing import language_model
from intaglio.recipes.evaluation.probing.language_model import TokenModel, held_out_nats

IDS = 6


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(language_model, "DIM", 32)
    monkeypatch.setattr(language_model, "DEPTH", 1)


def second_order(count, length, seed):
    """Ids that the last two decide on: their sum, or, one time in four, any id."""
    torch.manual_seed(seed)
    ids = torch.randint(IDS, (count, length))
    for position in range(2, length):
        follows = (ids[:, position - 1] + ids[:, position - 2]) % IDS
        ids[:, position] = torch.where(torch.rand(count) < 0.75, follows, ids[:, position])
    return [one.unsqueeze(1) for one in ids]


def markov(count, length, seed):
    """Ids that the one before decides on: the next, or, one time in four, any id."""
    torch.manual_seed(seed)
    ids = torch.randint(IDS, (count, length))
    for position in range(1, length):
        follows = (ids[:, position - 1] + 1) % IDS
        ids[:, position] = torch.where(torch.rand(count) < 0.75, follows, ids[:, position])
    return [one.unsqueeze(1) for one in ids]


def entropy():
    """Nats of an id of both sources, given those before it."""
    likely, other = 0.75 + 0.25 / IDS, 0.25 / IDS
    return -likely * math.log(likely) - (IDS - 1) * other * math.log(other)


def test_a_markov_source_is_predicted_as_well_as_it_can_be():
    train, held = markov(60, 60, seed=0), markov(20, 60, seed=1)
    found = held_out_nats(train, held, (IDS,), steps=120, seed=0)
    perfect = math.log(IDS) + 59 * entropy()
    assert float(found.model.mean()) == pytest.approx(perfect, rel=0.06)
    assert float(found.bigram.mean()) == pytest.approx(perfect, rel=0.06)
    assert float(found.unigram.mean()) == pytest.approx(60 * math.log(IDS), rel=0.01)


def test_levels_that_follow_from_others_cost_no_nats():
    torch.manual_seed(3)
    first = [torch.randint(IDS, (40, 1)) for _ in range(60)]
    sequences = [torch.cat([ids, (ids + 2) % IDS], 1) for ids in first]
    found = held_out_nats(sequences[10:], sequences[:10], (IDS, IDS), steps=120, seed=0)
    one_level = 40 * math.log(IDS)
    assert float(found.model.mean()) == pytest.approx(one_level, rel=0.08)
    assert float(found.unigram.mean()) == pytest.approx(2 * one_level, rel=0.03)


def test_the_probability_of_all_sequences_is_one():
    torch.manual_seed(5)
    model = TokenModel((2, 3)).eval()
    for weight in model.parameters():  # the logits begin at zero
        torch.nn.init.normal_(weight, std=0.3)
    every = torch.cartesian_prod(*[torch.arange(size) for size in (2, 3, 2, 3)])
    total = sum(math.exp(-model.nats(one.view(2, 2))) for one in every)
    assert total == pytest.approx(1, abs=1e-4)


def test_long_sequences_are_measured_in_pieces(monkeypatch):
    monkeypatch.setattr(language_model, "CONTEXT", 8)
    torch.manual_seed(6)
    model = TokenModel((IDS,)).eval()
    torch.nn.init.normal_(model.head.linear.weight)
    ids = torch.randint(IDS, (8 * 9 + 3, 1))
    pieces = [model.nats(piece) for piece in ids.split(8)]
    assert model.nats(ids) == pytest.approx(sum(pieces), rel=1e-5)
    assert max(len(ids[start : start + 8]) for start in range(0, len(ids), 8)) == 8


def test_a_seed_decides_and_the_state_of_others_stays():
    sequences = second_order(12, 20, seed=2)
    torch.manual_seed(8)
    before = torch.random.get_rng_state()
    runs = [
        held_out_nats(sequences[2:], sequences[:2], (IDS,), steps=3, seed=seed)
        for seed in (0, 0, 1)
    ]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(runs[0].model, runs[1].model)
    assert not torch.equal(runs[0].model, runs[2].model)


def test_pairs_that_were_never_counted_fall_back_to_single_ids():
    torch.manual_seed(9)
    ids = torch.multinomial(1 / torch.arange(1, 201.0), 30 * 40, replacement=True)
    sequences = list(ids.view(30, 40, 1))
    found = held_out_nats(sequences[6:], sequences[:6], (200,), steps=1, seed=0)
    assert float(found.bigram.sum()) < 1.01 * float(found.unigram.sum())
