"""Masked orders: what is learned, what is seen, how many are drawn when, and what stays."""

from itertools import product

import pytest
import torch

from intaglio.codecs.layers.transformer import Transformer
from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.heads.base import Head
from intaglio.generators.mae_encoder import MAEEncoder
from intaglio.generators.orders.base import PartialSequence, Request
from intaglio.generators.samplers.sampler import Sampler

EVERY = torch.tensor(list(product(range(3), repeat=3))).unsqueeze(-1)


def test_masked_tokens_see_all_that_are_known_and_no_masked_one(masked):
    generator = masked(shape=(2, 3), prefix=2)
    tokens, condition = torch.randint(0, 3, (1, 6, 1)), torch.tensor([1])
    mask = torch.tensor([[True, False, True, False, False, True]])
    predictions = generator.order.predictions_given(generator.backbone, tokens, condition, mask)
    assert predictions.positions.tolist() == [0, 2, 5]
    assert torch.equal(predictions.target, tokens[0, [0, 2, 5]])
    for place in range(6):
        other = tokens.clone()
        other[0, place] = (tokens[0, place] + 1) % 3
        moved = (
            generator.order.predictions_given(generator.backbone, other, condition, mask).hidden
            != predictions.hidden
        )
        assert moved.any(1).tolist() == [not mask[0, place]] * 3
    given = generator.order.predictions_given(generator.backbone, tokens, torch.tensor([2]), mask)
    assert (given.hidden != predictions.hidden).any(1).all()


def test_items_of_a_training_batch_have_numbers_of_their_own(masked):
    """Kolmogorov's distance of 5,000 numbers to the distribution of even shares (arc cosine)."""
    generator = masked(shape=(50,))
    torch.manual_seed(0)
    tokens = torch.zeros(5000, 50, 1, dtype=torch.int64)
    predictions = generator.order.predictions(
        generator.backbone, tokens, torch.zeros(5000, dtype=torch.int64)
    )
    # every item's places come in order: a new item begins where they do not rise
    starts = torch.cat([torch.tensor([True]), predictions.positions.diff() <= 0])
    numbers = starts.cumsum(0).sub(1).bincount()
    times = torch.linspace(0, 1, 20_001)[:-1] + 1 / 40_000
    shares = 2 / torch.pi * times.acos()
    counts = (50 * shares).round().clamp_min(1).long().bincount(minlength=51)
    distribution = counts.cumsum(0) / 20_000
    seen = numbers.bincount(minlength=51).cumsum(0) / len(numbers)
    # two items differ unless the first ends before the second begins, which is rare
    assert len(numbers) > 4900
    assert float((distribution - seen).abs().max()) < 0.03
    assert torch.bincount(predictions.positions).float().std() < 60


def test_the_least_share(masked):
    generator = masked({"least": 0.7}, shape=(10,))
    predictions = generator.order.predictions(
        generator.backbone,
        torch.zeros(400, 10, 1, dtype=torch.int64),
        torch.zeros(400, dtype=torch.int64),
    )
    assert 0.7 * 4000 <= len(predictions.positions) < 0.95 * 4000


def masks_of(generator, batch, monkeypatch):
    """Places that a predictions masks, bool [batch, positions], without computing it."""
    monkeypatch.setattr(generator.order, "predictions_given", lambda *parts: parts[-1])
    tokens = torch.zeros(batch, generator.positions, 1, dtype=torch.int64)
    return generator.order.predictions(
        generator.backbone, tokens, torch.zeros(batch, dtype=torch.int64)
    )


def test_shares_of_a_normal_distribution(masked, monkeypatch):
    """Chi-square of 10,000 numbers: at least 14 of 20, rounded up, so 15 to 20."""
    generator = masked({"least": 0.7, "standard_deviation": 0.25}, shape=(20,))
    torch.manual_seed(0)
    places = masks_of(generator, 10_000, monkeypatch)
    below = torch.special.ndtr((torch.arange(14, 21).double() / 20 - 1) / 0.25)
    distribution = (below / (0.5 - below[0])).diff()
    seen = places.sum(1).bincount(minlength=21)
    assert seen[:15].sum() == 0 and float(distribution.sum()) == pytest.approx(1)
    chi = ((seen[15:] - 10_000 * distribution) ** 2 / (10_000 * distribution)).sum()
    assert chi < 25.7  # of 5 degrees of freedom, one test in 10,000
    spread = places.double().mean(0)
    assert float((spread - spread.mean()).abs().max()) < 0.02


@pytest.mark.parametrize("standard_deviation", [None, 0.25], ids=["schedule", "normal"])
def test_a_batch_may_share_its_number(masked, monkeypatch, standard_deviation):
    generator = masked({"standard_deviation": standard_deviation, "together": True}, shape=(20,))
    batches = [masks_of(generator, 50, monkeypatch) for _ in range(20)]
    numbers = [places.sum(1).unique().tolist() for places in batches]
    assert {len(number) for number in numbers} == {1}
    assert len({number[0] for number in numbers}) > 3
    assert len(batches[0].unique(dim=0)) > 1 or numbers[0] == [20]


def test_with_an_encoder_every_token_is_predicted_from_the_known_ones(masked):
    """As without one; and what the decoder gives is placed again."""
    encoder = MAEEncoder(Transformer(16, 1, 2), 6, prefix=2)
    generator = masked(
        {"encoder": encoder}, shape=(2, 3), prefix=2, learned_positions=True, rotary=None
    )
    tokens, condition = torch.randint(0, 3, (1, 6, 1)), torch.tensor([1])
    mask = torch.tensor([[True, False, True, False, False, True]])
    before = generator.order.predictions_given(generator.backbone, tokens, condition, mask).hidden
    for place in range(6):
        other = tokens.clone()
        other[0, place] = (tokens[0, place] + 1) % 3
        moved = (
            generator.order.predictions_given(generator.backbone, other, condition, mask).hidden
            != before
        )
        assert moved.any(1).tolist() == [not mask[0, place]] * 3
    with torch.no_grad():
        last = encoder.output_position_embedding.clone()
        encoder.output_position_embedding.zero_()
    after = generator.order.predictions_given(generator.backbone, tokens, condition, mask).hidden
    torch.testing.assert_close(before - after, last[[0, 2, 5]], atol=1e-5, rtol=0)
    # other places of what the decoder reads: not so simple a difference
    with torch.no_grad():
        encoder.position_embedding[2 + 1] += 1
    found = (
        generator.order.predictions_given(generator.backbone, tokens, condition, mask).hidden
        - after
    )
    assert float(found.detach().abs().max()) > 1e-3


@pytest.mark.parametrize("reveal", ["confidence", "random"])
def test_as_many_are_drawn_as_the_schedule_says_and_each_once(masked, reveal):
    generator = masked({"reveal": reveal, "schedule": "cosine"}, shape=(2, 4))
    condition = torch.tensor([0, 1, 2])
    given = torch.zeros(3, 8, dtype=torch.bool)
    given[1, [2, 5, 7]] = True
    given[2] = True
    tokens = torch.randint(0, 3, (3, 8, 1))
    partial = PartialSequence(tokens.clone(), given)
    request = Request(condition, partial, torch.arange(3), guided=True, steps=4)
    state = generator.start_decoding(request)
    masks = [state.masked]
    for step in state.steps():
        before = state.partial.tokens.clone()
        state.hidden(step)
        count = step.positions.shape[1]
        state.commit(step, torch.full((3, count, 1), 10 + step.number) % 3, 1.5)
        masks.append(state.masked)
        fresh = masks[-2] & ~masks[-1]
        assert (state.partial.tokens[fresh] == (10 + step.number) % 3).all()
        assert torch.equal(state.partial.tokens[~fresh], before[~fresh])
        assert not (masks[-1] & ~masks[-2]).any()
        if reveal == "random":
            assert count == fresh.sum(1).max()
    left = torch.stack([mask.sum(1) for mask in masks])
    # floor of 8 and of 5 times the cosine of 1/4, 2/4, 3/4 of a right angle
    assert left.T.tolist() == [[8, 7, 5, 3, 0], [5, 4, 3, 1, 0], [0, 0, 0, 0, 0]]
    assert torch.equal(state.partial.tokens[given], tokens[given])


def test_the_time_of_a_random_reveal_is_the_share_that_is_known(masked):
    """MAR's guidance: 8 tokens in 4 steps leave 7, 5, 3, 0; the most confident go by the step."""
    given = torch.zeros(2, 8, dtype=torch.bool)
    given[:, :2] = True  # what is given counts for nothing: the same weights for all
    request = Request(
        torch.tensor([0, 1]),
        PartialSequence(torch.zeros(2, 8, 1, dtype=torch.int64), given),
        torch.arange(2),
    )
    times = {}
    for reveal in ("random", "confidence"):
        generator = masked({"reveal": reveal, "schedule": "cosine", "steps": 4}, shape=(2, 4))
        state = generator.start_decoding(request)
        times[reveal] = []
        for step in state.steps():
            times[reveal].append(step.time)
            state.hidden(step)
            state.commit(step, torch.zeros(2, step.positions.shape[1], 1, dtype=torch.int64), 1.0)
    assert times["random"] == pytest.approx([1 / 8, 3 / 8, 5 / 8, 1])
    assert times["confidence"] == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_the_distribution_of_one_at_a_time_in_a_random_order(masked):
    """Chi-square of 20,000 items against the mean over all orders, 27 cells."""
    generator = masked({"reveal": "random"}, shape=(3,))
    labels = torch.ones(20_000, dtype=torch.int64)
    items = Sampler(steps=3).generate(generator, labels, seed=2)
    distribution = torch.zeros(27, dtype=torch.float64)
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    for order in orders:
        total = torch.zeros(27, dtype=torch.float64)
        mask = torch.ones(27, 3, dtype=torch.bool)
        for place in order:
            predictions = generator.order.predictions_given(
                generator.backbone, EVERY, labels[:27], mask
            )
            here = predictions.positions == place
            total += generator.head.log_prob(
                predictions.hidden[here], predictions.target[here]
            ).double()
            mask = mask.clone()
            mask[:, place] = False
        distribution += total.exp().detach() / len(orders)
    assert float(distribution.sum()) == pytest.approx(1, abs=1e-5)
    counts = (items[..., 0] * torch.tensor([9, 3, 1])).sum(1).bincount(minlength=27)
    kept = distribution > 5 / 20_000
    chi = ((counts - 20_000 * distribution) ** 2 / (20_000 * distribution))[kept].sum()
    assert int(kept.sum()) > 15
    assert chi < 61  # of 26 degrees of freedom, one test in 10,000


def test_the_most_confident_are_kept(masked):
    """Without noise the places that stay masked have drawn the least likely tokens."""
    generator = masked({"noise": 0.0}, shape=(2, 4))
    partial = PartialSequence(
        torch.zeros(5, 8, 1, dtype=torch.int64), torch.zeros(5, 8, dtype=torch.bool)
    )
    request = Request(torch.full((5,), 1), partial, torch.arange(5), guided=True, steps=2)
    state = generator.start_decoding(request)
    step = next(state.steps())
    hidden, null = state.hidden(step)
    tokens = torch.randint(0, 3, (5, 8, 1))
    logits = generator.head.logits(null)[0] + 2.5 * generator.head.logits(hidden - null)[0]
    score = logits.log_softmax(-1).gather(2, tokens)[..., 0]
    state.commit(step, tokens, 2.5)
    for row, masked_row in zip(score, state.masked, strict=True):
        assert 0 < masked_row.sum() < 8
        assert row[masked_row].max() < row[~masked_row].min()


@pytest.mark.parametrize("reveal", ["confidence", "random"])
def test_an_item_is_the_same_in_any_batch(masked, reveal):
    generator = masked({"reveal": reveal}, shape=(2, 4), prefix=2)
    sampler = Sampler(guidance=Guidance(2.0, "linear"), steps=4)
    condition = torch.tensor([0, 1, 2, -1])
    given = PartialSequence(
        torch.randint(0, 3, (4, 8, 1)),
        torch.rand(4, 8) < torch.tensor([[0.0], [0.5], [0.2], [0.0]]),
    )
    together = sampler.generate(generator, condition, seed=7, given=given)
    for item in range(4):
        place = slice(item, item + 1)
        alone = sampler.generate(
            generator,
            condition[place],
            seed=7 + item,
            given=PartialSequence(*(x[place] for x in given)),
        )
        assert torch.equal(alone[0], together[item])


def test_what_cannot_be_drawn_is_refused(masked):
    generator = masked(shape=(4,))
    condition = torch.tensor([0, 1])
    with pytest.raises(ValueError, match="4 tokens cannot be drawn in 5 steps"):
        Sampler(steps=5).generate(generator, condition)
    with pytest.raises(ValueError, match=r"in \[0, 1\], got 1.5"):
        masked({"least": 1.5})
    with pytest.raises(ValueError, match="above 0, got 0"):
        masked({"standard_deviation": 0})
    found = Sampler().generate(generator, condition)  # its own 8 steps are cut down to 4
    assert found.shape == (2, 4, 1)
    head = Head()
    head.dim, head.width = 16, 1
    generator.head = head
    with pytest.raises(ValueError, match="Head has no confidence; reveal at random"):
        Sampler().generate(generator, condition)
