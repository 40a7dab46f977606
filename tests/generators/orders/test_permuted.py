"""Any order of the positions: distribution, attention, gaps, and the way from random to rows."""

from itertools import product

import pytest
import torch

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.orders.base import PartialSequence, Request
from intaglio.generators.orders.permuted import PermutedOrder
from intaglio.generators.orders.raster import RasterOrder
from intaglio.generators.samplers.sampler import Sampler

EVERY = torch.tensor(list(product(range(3), repeat=4))).unsqueeze(-1)


@pytest.fixture
def permuted(generator_with):
    def make(shape=(2, 2), **options):
        positions = shape[0] * shape[1]
        order = PermutedOrder(16, positions, **{"draws": "random"} | options)
        return generator_with(order, shape=shape, rotary=None, learned_positions=True, prefix=2)

    return make


def log_prob(generator, tokens, label, order):
    predictions = generator.order.predictions_given(
        generator.backbone, tokens, label, order.expand(len(tokens), -1)
    )
    found = generator.head.log_prob(predictions.hidden, predictions.target).detach()
    return found.view(len(tokens), -1), predictions


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 0, 3, 1)], ids=["rows", "mixed"])
def test_probabilities_of_all_items_add_up_to_one_in_any_order(permuted, order):
    generator = permuted()
    label = torch.ones(81, dtype=torch.int64)
    found, predictions = log_prob(generator, EVERY, label, torch.tensor([order]))
    assert float(found.sum(1).exp().sum()) == pytest.approx(1, abs=1e-5)
    assert float(found.sum(1).std()) > 0.1
    assert predictions.positions.view(81, 4)[5].tolist() == list(order)
    assert torch.equal(predictions.target.view(81, 4, 1)[:, 0], EVERY[:, order[0]])


def test_a_token_sees_those_before_it_in_the_order_and_where_it_stands(permuted):
    generator = permuted((2, 3))
    tokens, label = torch.randint(0, 3, (1, 6, 1)), torch.tensor([1])
    order = torch.tensor([[4, 1, 5, 0, 3, 2]])
    before, _ = log_prob(generator, tokens, label, order)
    for rank, place in enumerate(order[0].tolist()):
        other = tokens.clone()
        other[0, place] = (tokens[0, place] + 1) % 3
        moved = (log_prob(generator, other, label, order)[0] != before)[0].tolist()
        assert moved == [number >= rank for number in range(6)]
    swapped = order[:, [0, 1, 2, 3, 5, 4]]  # the same tokens are known, another place is next
    known = log_prob(generator, torch.zeros_like(tokens), label, order)[0]
    other = log_prob(generator, torch.zeros_like(tokens), label, swapped)[0]
    assert torch.equal(known[0, :4], other[0, :4]) and known[0, 4] != other[0, 4]


def test_log_probabilities_stand_at_their_places(permuted):
    generator = permuted((2, 3))
    order = torch.tensor([[4, 1, 5, 0, 3, 2], [0, 1, 2, 3, 4, 5]])
    tokens, labels = torch.randint(0, 3, (2, 6, 1)), torch.tensor([1, 2])
    generator.order.predictions = lambda b, t, c: generator.order.predictions_given(b, t, c, order)
    found = generator.log_prob(tokens, labels)
    for item in range(2):
        alone, _ = log_prob(
            generator, tokens[item : item + 1], labels[item : item + 1], order[item : item + 1]
        )
        torch.testing.assert_close(found[item, order[item]], alone[0])


@pytest.mark.parametrize("draws", ["raster", "random"])
def test_cached_steps_find_what_one_pass_finds(permuted, draws):
    """Also where items have different tokens given."""
    generator = permuted((3, 3), draws=draws).double()
    condition = torch.tensor([0, 2])
    tokens = torch.randint(0, 3, (2, 9, 1))
    given = torch.zeros(2, 9, dtype=torch.bool)
    given[0, [1, 7]], given[1, [2, 3, 8]] = True, True
    request = Request(
        condition, PartialSequence(tokens.clone(), given), torch.arange(2), guided=True
    )
    state = generator.start_decoding(request)
    order = state.order
    assert sorted(order[0, :2].tolist()) == [1, 7] and sorted(order[1, :3].tolist()) == [2, 3, 8]
    if draws == "raster":
        assert order[0].tolist() == [1, 7, 0, 2, 3, 4, 5, 6, 8]
    whole, none = (
        generator.order.predictions_given(generator.backbone, tokens, label, order).hidden.view(
            2, 9, -1
        )
        for label in (condition, torch.tensor([-1, -1]))
    )
    numbers = []
    for step in state.steps():
        numbers.append(step.number)
        hidden, null = state.hidden(step)
        assert (hidden[:, 0] - whole[:, step.number]).abs().max() < 1e-9
        assert (null[:, 0] - none[:, step.number]).abs().max() < 1e-9
        places = step.positions.unsqueeze(-1)
        state.commit(step, tokens.gather(1, places), 1.0)
    assert numbers == list(range(2, 9))


def test_without_permutations_and_aims_it_is_the_raster_order(permuted, generator_with):
    generator = permuted(draws="raster")
    torch.nn.init.zeros_(generator.order.next)
    plain = generator_with(RasterOrder(), rotary=None, learned_positions=True, prefix=2)
    state = {n: t for n, t in generator.state_dict().items() if not n.startswith("order.")}
    plain.load_state_dict(state)
    labels = torch.arange(81) % 3
    torch.testing.assert_close(generator.log_prob(EVERY, labels), plain.log_prob(EVERY, labels))
    sampler = Sampler(guidance=Guidance(2.0))
    assert torch.equal(sampler.generate(generator, labels), sampler.generate(plain, labels))


@pytest.mark.parametrize("draws", ["raster", "random"])
def test_it_keeps_its_word(keeps_its_word, permuted, draws):
    keeps_its_word(permuted((2, 3), draws=draws), Sampler(guidance=Guidance(2.0, "linear")))


def test_a_gap_is_filled_by_the_distribution_of_what_is_missing(permuted):
    """Chi-square of the middle token of three ids, given the others, over 3,000 seeds."""
    generator = permuted()
    partial = PartialSequence(
        torch.tensor([[[2], [0], [1], [0]]]), torch.tensor([[True, False, True, True]])
    )
    many = PartialSequence(partial.tokens.expand(3000, -1, -1), partial.given.expand(3000, -1))
    labels = torch.ones(3000, dtype=torch.int64)
    drawn = Sampler().generate(generator, labels, given=many)[:, 1, 0].bincount(minlength=3)
    order = torch.tensor([[0, 2, 3, 1]])
    items = partial.tokens.repeat(3, 1, 1)
    items[:, 1, 0] = torch.arange(3)
    distribution = log_prob(generator, items, labels[:3], order)[0][:, 3].exp() * 3000
    assert (
        float(((drawn - distribution) ** 2 / distribution).sum()) < 18.4
    )  # 2 degrees of freedom, one in 10,000


def test_training_goes_from_random_orders_to_rows(permuted):
    order = permuted(until=0.5, gone=0.75).order
    shares = []
    for done in (0, 0.5, 0.6, 0.75, 1):
        order.begin(done)
        shares.append(order.permuted)
    assert shares == pytest.approx([1, 1, 0.6, 0, 0])
    always = permuted().order
    always.begin(1.0)
    assert always.permuted == 1
    late = permuted(until=0.5).order
    late.begin(0.75)
    assert late.permuted == 0.5
    sudden = permuted(until=0.5, gone=0.5).order
    sudden.begin(0.49)
    assert sudden.permuted == 1
    sudden.begin(0.5)
    assert sudden.permuted == 0


def test_training_batches_have_the_share_of_random_orders(permuted):
    generator = permuted((2, 3)).train()
    tokens, labels = torch.zeros(2000, 6, 1, dtype=torch.int64), torch.zeros(2000).long()
    for share in (0.0, 0.4, 1.0):
        generator.order.permuted = share
        order = generator.order.predictions(generator.backbone, tokens, labels).positions.view(
            -1, 6
        )
        rows = (order == torch.arange(6)).all(1).float().mean()
        assert float(rows) == pytest.approx(1 - share * (1 - 1 / 720), abs=0.045)
    counts = order[:, 0].bincount(minlength=6).double()
    assert float(((counts - 2000 / 6) ** 2 / (2000 / 6)).sum()) < 25.7  # 5 degrees of freedom


def test_what_cannot_be_is_refused(permuted, generator_with):
    with pytest.raises(ValueError, match="0 <= until <= gone <= 1: 0.8, 0.5"):
        PermutedOrder(16, 4, until=0.8, gone=0.5)
    generator = generator_with(PermutedOrder(16, 4))
    with pytest.raises(
        ValueError, match="permuted orders need learned_positions=True and rotary=None"
    ):
        generator.loss(torch.zeros(1, 4, 1, dtype=torch.int64), torch.tensor([0]))
    with pytest.raises(ValueError, match="takes 4 steps, not 3"):
        Sampler(steps=3).generate(permuted(), torch.tensor([0]))
