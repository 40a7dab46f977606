"""Nats of held-out tokens: against enumeration of all items, and of all orders."""

import itertools
import math

import pytest
import torch

from intaglio.codecs.layers.transformer import Transformer
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.embeddings.base import IdEmbedding, LinearEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.heads.flow import FlowHead
from intaglio.generators.orders.base import Order
from intaglio.generators.orders.masked import MaskedOrder
from intaglio.generators.orders.raster import RasterOrder
from intaglio.recipes.evaluation.generators import likelihood
from intaglio.recipes.evaluation.generators.likelihood import absence, is_bound, nats_of

POSITIONS, SIZE = 3, 3
EVERY = torch.tensor(list(itertools.product(range(SIZE), repeat=POSITIONS))).unsqueeze(-1)


def tiny(order, **head):
    torch.manual_seed(0)
    generator = Generator(
        Backbone(
            (POSITIONS,),
            IdEmbedding((SIZE,), 16),
            ClassCondition(2),
            Transformer(16, 1, 2, dropout=0.5),
            learned_positions=True,
            drop_tokens=0.5,
        ),
        CategoricalHead(16, (SIZE,), **head),
        order,
    )
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return generator.double().eval()


def conditions(count, label=1):
    return torch.full((count,), label)


def test_probabilities_of_all_items_add_up_to_one():
    generator = tiny(RasterOrder())
    nats = nats_of(generator, EVERY, conditions(len(EVERY)))
    assert nats.shape == (27, POSITIONS) and nats.dtype == torch.float64
    assert float((-nats.sum(1)).exp().sum()) == pytest.approx(1, abs=1e-6)
    other = nats_of(generator, EVERY, conditions(len(EVERY), 0))
    assert not torch.allclose(other, nats)
    assert absence(generator) == "" and not is_bound(generator)


def test_the_first_token_does_not_depend_on_those_after_it():
    nats = nats_of(tiny(RasterOrder()), EVERY, conditions(len(EVERY))).view(3, 9, POSITIONS)
    assert torch.allclose(nats[:, :1, 0].expand(3, 9), nats[:, :, 0])
    assert float((-nats[:, 0, 0]).exp().sum()) == pytest.approx(1)


def test_smoothed_labels_and_dropout_do_not_count():
    plain, smooth = tiny(RasterOrder()), tiny(RasterOrder(), smoothing=0.3, z_loss=0.1)
    smooth.load_state_dict(plain.state_dict())
    nats = [nats_of(one, EVERY, conditions(27)) for one in (plain, smooth, plain)]
    assert torch.equal(nats[0], nats[1]) and torch.equal(nats[0], nats[2])
    with pytest.raises(ValueError, match="eval"):
        nats_of(plain.train(), EVERY, conditions(27))


def in_all_orders(generator, item):
    """Nats of each position of an item for every order, [orders, positions]."""
    rows = []
    for order in itertools.permutations(range(POSITIONS)):
        row = torch.zeros(POSITIONS, dtype=torch.float64)
        masked = torch.ones(1, POSITIONS, dtype=torch.bool)
        for position in order:
            hidden = generator.order.hidden(generator.backbone, item[None], conditions(1), masked)
            row[position] = -generator.head.log_prob(hidden[:, position], item[None, position])[0]
            masked[0, position] = False
        rows.append(row)
    return torch.stack(rows)


@torch.no_grad()
def test_nats_of_masked_tokens_are_the_mean_over_orders(monkeypatch):
    monkeypatch.setattr(likelihood, "BATCH", 500)
    generator = tiny(MaskedOrder(16))
    item = EVERY[14]
    every = in_all_orders(generator, item)
    count = 2000
    found = nats_of(generator, item.expand(count, -1, -1), conditions(count))
    error = found.std(0) / count**0.5
    assert (error > 0).all()  # orders are drawn
    assert ((found.mean(0) - every.mean(0)).abs() < 5 * error).all()
    assert not torch.allclose(every.mean(0), every.mean(), atol=float(10 * error.max()))
    mixture = -every.sum(1).neg().logsumexp(0) + math.log(len(every))
    assert every.sum(1).mean() > mixture  # Jensen: the mean over orders is a bound
    assert is_bound(generator)


@torch.no_grad()
def test_fewer_rounds_than_positions_stay_unbiased(monkeypatch):
    monkeypatch.setattr(likelihood, "MAX_COUNTS", 2)
    monkeypatch.setattr(likelihood, "BATCH", 500)
    generator, count = tiny(MaskedOrder(16)), 2000
    found = nats_of(generator, EVERY[14].expand(count, -1, -1), conditions(count))
    error = found.std(0) / count**0.5
    wanted = in_all_orders(generator, EVERY[14]).mean(0)
    assert ((found.mean(0) - wanted).abs() < 5 * error).all()


@pytest.mark.parametrize("order", [RasterOrder, lambda: MaskedOrder(16)], ids=["raster", "masked"])
def test_a_batch_is_its_items(order, monkeypatch):
    generator = tiny(order())
    tokens, condition = EVERY[:7], torch.tensor([0, 1, -1, 1, 0, 0, 1])
    whole = nats_of(generator, tokens, condition, seed=3)
    monkeypatch.setattr(likelihood, "BATCH", 2)
    # float64 sums of what float32 gives, so as near as float32
    near = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(nats_of(generator, tokens, condition, seed=3), whole, **near)
    alone = nats_of(generator, tokens[4:5], condition[4:5], seed=3 + 4)
    torch.testing.assert_close(alone[0], whole[4], **near)


def test_without_a_likelihood_there_is_a_reason():
    def vectors(head):
        backbone = Transformer(16, 1, 2)
        order = MaskedOrder(16, reveal="random")
        return Generator(
            Backbone((3,), LinearEmbedding(4, 16), ClassCondition(2), backbone), head, order
        )

    flow = vectors(FlowHead(16, 4, hidden_channels=8, depth=1))
    assert "vectors" in absence(flow)
    with pytest.raises(ValueError, match="vectors"):
        nats_of(flow.eval(), EVERY, conditions(27))
    assert "no fixed order" in absence(tiny(Order()))
    intractable = tiny(RasterOrder())
    intractable.head.tractable = False
    assert "CategoricalHead has no likelihood" in absence(intractable)
