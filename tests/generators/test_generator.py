"""Generators that draw row by row: likelihoods by enumeration, and what may see what."""

from itertools import product

import pytest
import torch

from intaglio.codecs.layers.positions import rotation
from intaglio.codecs.layers.transformer import Transformer
from intaglio.codecs.part import build, describe
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.classes import NO_CLASS, ClassCondition
from intaglio.generators.embeddings.base import IdEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.orders.raster import RasterOrder

EVERY = torch.tensor(list(product(range(3), repeat=4))).unsqueeze(-1)  # items of four of three ids


@pytest.mark.parametrize("prefix", [1, 3])
@pytest.mark.parametrize(
    "options", [{}, {"learned_positions": True, "rotary": None}], ids=["rope", "table"]
)
def test_probabilities_of_all_items_add_up_to_one(raster, prefix, options):
    generator = raster(prefix=prefix, **options)
    for label in (NO_CLASS, 0, 2):
        found = generator.log_prob(EVERY, torch.full((81,), label)).sum(1).detach()
        assert float(found.exp().sum()) == pytest.approx(1, abs=1e-5)
        assert float(found.std()) > 0.1


def test_a_token_is_predicted_from_those_before_it_and_the_condition(raster):
    generator = raster(shape=(2, 3), prefix=2)
    tokens, condition = torch.randint(0, 3, (1, 6, 1)), torch.tensor([1])
    before = generator.log_prob(tokens, condition)
    for place in range(6):
        other = tokens.clone()
        other[0, place] = (tokens[0, place] + 1) % 3
        moved = (generator.log_prob(other, condition) != before)[0].tolist()
        assert moved == [position >= place for position in range(6)]
    assert (generator.log_prob(tokens, torch.tensor([2])) != before).all()


def test_positions_matter(raster):
    """The same tokens in another grid have other probabilities, by rotation and by table."""
    for options in ({}, {"learned_positions": True, "rotary": None}):
        wide, tall = (raster(shape=shape, **options) for shape in ((2, 3), (3, 2)))
        tokens, condition = torch.zeros(1, 6, 1, dtype=torch.int64), torch.tensor([1])
        same = torch.allclose(wide.log_prob(tokens, condition), tall.log_prob(tokens, condition))
        assert same == bool(options)  # a table knows of no rows
        found = wide.log_prob(tokens, condition)[0]
        assert len(found.unique()) == 6


def test_the_loss_is_the_negative_log_probability_of_every_token(raster):
    generator = raster()
    tokens, condition = EVERY[5:9], torch.tensor([0, 1, 2, NO_CLASS])
    loss = generator.loss(tokens, condition)
    assert torch.equal(loss, -generator.log_prob(tokens, condition).flatten())


def test_some_items_lose_their_condition_in_training(raster):
    generator = raster(drop_condition=0.25).train()
    tokens, condition = EVERY[:1].expand(2000, -1, -1), torch.ones(2000, dtype=torch.int64)
    loss = generator.loss(tokens, condition).view(2000, 4)[:, 0]
    conditional, unconditional = (
        -generator.eval().log_prob(EVERY[:1], torch.tensor([label]))[0, 0]
        for label in (1, NO_CLASS)
    )
    without = torch.isclose(loss, unconditional, atol=1e-5)
    assert torch.isclose(loss[~without], conditional, atol=1e-5).all()
    assert abs(float(without.float().mean()) - 0.25) < 0.05
    generator.drop_condition = 0.0
    assert torch.isclose(
        generator.train().loss(tokens, condition)[::4], conditional, atol=1e-5
    ).all()


def test_it_is_built_again_from_its_recipe(raster):
    generator = raster(learned_positions=True)
    again = build(describe(generator)).eval()
    again.load_state_dict(generator.state_dict())
    condition = torch.zeros(81, dtype=torch.int64)
    assert torch.equal(generator.log_prob(EVERY, condition), again.log_prob(EVERY, condition))


def test_what_does_not_fit_is_refused(raster):
    generator = raster()
    with pytest.raises(ValueError, match=r"items of \(4, 1\) tokens are needed, got \(3, 1\)"):
        generator.log_prob(EVERY[:, :3], torch.zeros(81, dtype=torch.int64))
    for label in (-2, 3):
        with pytest.raises(ValueError, match=f"classes are 0 to 2, or -1 for none, got {label}"):
            generator.log_prob(EVERY, torch.full((81,), label))
    parts = (IdEmbedding((3, 3), 8), ClassCondition(2), Transformer(8, 1, 2))
    with pytest.raises(ValueError, match="tokens of width 2 need no head of 1"):
        Generator(Backbone((2,), *parts), CategoricalHead(8, (3,)), RasterOrder())
    with pytest.raises(ValueError, match="a backbone of 8 channels needs no head of 4"):
        backbone = Backbone((2,), IdEmbedding((3,), 8), *parts[1:])
        Generator(backbone, CategoricalHead(4, (3,)), RasterOrder())


def test_several_groups_are_added_in_the_embedding():
    embedding = IdEmbedding((3, 5), 4)
    ids = torch.tensor([[[2, 4], [0, 1]]])
    first, second = (table.weight for table in embedding.tables)
    assert torch.allclose(embedding(ids), torch.stack([first[2] + second[4], first[0] + second[1]]))


def test_tokens_are_rotated_by_row_and_column_and_a_condition_is_not(raster):
    table = raster(shape=(2, 3), prefix=2).backbone.rotation(torch.arange(-2, 6))
    assert torch.equal(table[:2], torch.tensor([1.0, 0.0]).expand(2, 4, 2))
    torch.testing.assert_close(table[2 + 5], rotation(torch.tensor([[1, 2]]), 8)[0])
