"""Tables of counts: counted by hand, and of a Markov chain whose distribution is known."""

import math
from collections import Counter

import pytest
import torch

from intaglio.recipes.evaluation.generators.baselines import (
    ALPHAS,
    TABLES,
    USUAL_ALPHA,
    CountTable,
    bigram,
    class_position_unigram,
    position_unigram,
    table_nats,
    unigram,
    unigram_samples,
)
from intaglio.recipes.evaluation.generators.tokens import TokenSide

STEP = torch.tensor([[0.8, 0.1, 0.1], [0.05, 0.05, 0.9], [0.5, 0.3, 0.2]], dtype=torch.float64)


def side(tokens, labels=None, views=None, view_labels=None):
    labels = torch.zeros(len(tokens), dtype=torch.int64) if labels is None else labels
    return TokenSide(
        tokens,
        labels,
        [""] * len(tokens),
        tokens if views is None else views,
        labels if view_labels is None else view_labels,
    )


def chain(items, positions=12, seed=0):
    """Tokens of a Markov chain that starts evenly."""
    generator = torch.Generator().manual_seed(seed)
    columns = [torch.randint(3, (items,), generator=generator)]
    while len(columns) < positions:
        columns.append(torch.multinomial(STEP[columns[-1]], 1, generator=generator)[:, 0])
    return torch.stack(columns, 1).unsqueeze(-1)


def by_hand(train, labels, held, held_labels, what, size, alpha):
    """The same nats with dictionaries."""

    def context_of(row, label, position):
        match what:
            case "unigram":
                return ()
            case "bigram":
                return (row[position - 1] if position else "start",)
            case "position unigram":
                return (position,)
        return (label, position)

    def each(rows, labels):
        for row, label in zip(rows.squeeze(-1).tolist(), labels.tolist(), strict=True):
            for position, token in enumerate(row):
                yield context_of(row, label, position), token

    pairs = Counter(each(train, labels))
    contexts = Counter(context for context, _ in each(train, labels))
    nats = [
        -math.log((pairs[context, token] + alpha) / (contexts[context] + alpha * size))
        for context, token in each(held, held_labels)
    ]
    return torch.tensor(nats, dtype=torch.float64).view(held.shape[:2])


@pytest.mark.parametrize("what", sorted(TABLES))
def test_nats_are_those_of_counts_by_hand(what):
    train, held = chain(40, 5), chain(9, 5, seed=1)
    labels, others = torch.arange(40) % 3 - 1, torch.arange(9) % 4 - 1  # a class is never seen
    none = side(torch.zeros(0, 5, 1, dtype=torch.int64))
    found = table_nats(TABLES[what], side(train, labels), none, side(held, others), (4,))
    assert found.alpha == USUAL_ALPHA
    wanted = by_hand(train, labels, held, others, what, 4, USUAL_ALPHA)
    torch.testing.assert_close(found.nats, wanted)


def test_each_distribution_adds_up_to_one():
    contexts, ids = torch.tensor([0, 0, 5, 5, 5]), torch.tensor([1, 1, 0, 2, 3])
    table = CountTable(contexts, ids, 4)
    for context in (0, 3, 5, 9):  # two of them were never seen
        nats = table.nats(torch.full((4,), context), torch.arange(4), 0.3)
        assert float((-nats).exp().sum()) == pytest.approx(1)
    assert float(table.nats(torch.tensor([9]), torch.tensor([2]), 0.3)) == pytest.approx(
        math.log(4)
    )


def test_tables_of_a_known_chain_reach_its_entropies():
    train, tune, held = side(chain(4000)), side(chain(500, seed=1)), side(chain(4000, seed=2))
    nats = {name: table_nats(one, train, tune, held, (3,)).nats for name, one in TABLES.items()}
    entropy = -(STEP * STEP.log()).sum(1)
    marginal = torch.full((3,), 1 / 3, dtype=torch.float64)
    rates, marginals = [math.log(3)], [marginal]
    for _ in range(11):
        rates.append(float(marginal @ entropy))
        marginal = marginal @ STEP
        marginals.append(marginal)
    assert float(nats["bigram"].mean()) == pytest.approx(sum(rates) / 12, abs=0.01)
    each = [float(-(one * one.log()).sum()) for one in marginals]
    torch.testing.assert_close(
        nats["position unigram"].mean(0), torch.tensor(each, dtype=torch.float64), atol=0.04, rtol=0
    )
    mean = torch.stack(marginals).mean(0)
    assert float(nats["unigram"].mean()) == pytest.approx(
        float(-(mean * mean.log()).sum()), abs=0.01
    )


def test_class_and_position_predict_what_only_they_can():
    labels = torch.arange(60) % 3
    tokens = ((labels.unsqueeze(1) * 2 + torch.arange(4)) % 7).unsqueeze(-1)
    one = side(tokens, labels)
    nats = [
        float(table_nats(context, one, one, one, (7,)).nats.mean())
        for context in (class_position_unigram, position_unigram, unigram)
    ]
    assert nats[0] < 0.01 and nats[1] == pytest.approx(math.log(3), abs=0.05) and nats[2] > 1.2
    wrong = side(tokens, labels.roll(1))
    assert float(table_nats(class_position_unigram, one, one, wrong, (7,)).nats.mean()) > 3


def test_groups_are_counted_apart_and_added_up():
    first, second = chain(50), chain(50, seed=3) * 2
    both = table_nats(bigram, *[side(torch.cat([first, second], dim=2))] * 3, (3, 5)).nats
    apart = [
        table_nats(bigram, *[side(one)] * 3, (size,)).nats
        for one, size in ((first, 3), (second, 5))
    ]
    torch.testing.assert_close(both, apart[0] + apart[1])


def test_all_views_are_counted():
    tokens = torch.zeros(4, 2, 1, dtype=torch.int64)
    train = side(tokens, views=torch.cat([tokens, tokens + 1]), view_labels=torch.zeros(8).long())
    none, held = side(tokens[:0]), side(tokens + 1)
    found = table_nats(unigram, train, none, held, (2,)).nats
    torch.testing.assert_close(found, torch.full_like(found, math.log(2)))


def test_the_constant_is_the_best_of_the_validation_side():
    train = side(torch.zeros(20, 4, 1, dtype=torch.int64))
    sure, unsure = side(train.tokens[:5]), side(torch.randint(0, 50, (5, 4, 1)))
    low, high = (table_nats(unigram, train, one, sure, (50,)).alpha for one in (sure, unsure))
    assert (low, high) == (ALPHAS[0], ALPHAS[-1])


def test_samples_of_the_unigram_ignore_the_position():
    tokens = torch.tensor([[0, 1, 2, 2], [0, 1, 2, 2]]).unsqueeze(-1)
    tokens = torch.cat([tokens, tokens + 5], dim=2)
    drawn = unigram_samples(side(tokens), 3000, seed=1)
    assert drawn.shape == (3000, 4, 2) and drawn.dtype == torch.int64
    for position in range(4):
        share = drawn[:, position, 0].bincount(minlength=3) / 3000
        torch.testing.assert_close(share, torch.tensor([0.25, 0.25, 0.5]), atol=0.05, rtol=0)
    joint = (drawn[..., 0] == 2) & (drawn[..., 1] == 7)  # groups are drawn apart
    assert float(joint.float().mean()) == pytest.approx(0.25, abs=0.03)
    assert torch.equal(drawn, unigram_samples(side(tokens), 3000, seed=1))
    assert not torch.equal(drawn, unigram_samples(side(tokens), 3000, seed=2))
