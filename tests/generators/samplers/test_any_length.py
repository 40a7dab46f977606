"""Items of any length, several tokens in a pass; rows that are free take the next item."""

import pytest
import torch

from intaglio.codecs.layers.transformer import Transformer
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.embeddings.base import IdEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.orders.base import PartialSequence
from intaglio.generators.orders.raster import RasterOrder
from intaglio.generators.samplers.drafters import jacobi
from intaglio.generators.samplers.drafters.base import Drafting
from intaglio.generators.samplers.drafters.jacobi import JacobiDrafter
from intaglio.generators.samplers.sampler import Sampler
from intaglio.generators.samplers.speculative import SpeculativeSampler

GUIDED = Guidance(2.5, "linear")


@pytest.fixture
def of_any_length():
    """A generator whose items end by themselves."""
    torch.manual_seed(0)
    transformer = Transformer(16, 2, 2, gated=True, bias=False, norm="rms")
    condition = ClassCondition(3, prefix=3)
    backbone = Backbone(
        (12,), IdEmbedding((4,), 16), condition, transformer, learned_positions=True
    )
    head = CategoricalHead(16, (5,))
    generator = Generator(backbone, head, RasterOrder(), end_of_sequence=True)
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return generator.double().eval()


@pytest.mark.parametrize("window", [0, 1, 4, 20, None])
def test_items_of_any_length_end_where_they_do_in_plain_sampling(of_any_length, window):
    condition = torch.arange(40) % 3
    plain = Sampler(guidance=GUIDED).generate_sequences(of_any_length, condition, seed=2)
    lengths = plain.mask.sum(1)
    assert lengths.min() < 3 and lengths.max() > 6
    sampler = SpeculativeSampler(window=window, guidance=GUIDED)
    found = sampler.generate_sequences(of_any_length, condition, seed=2)
    assert torch.equal(found.tokens, plain.tokens) and torch.equal(found.mask, plain.mask)
    # the end counts, but for items of all positions
    assert sampler.statistics.tokens == int((lengths + 1).clamp_max(12).sum())
    given = PartialSequence(plain.tokens, plain.mask & (torch.arange(lengths.max()) < 2))
    again = sampler.generate_sequences(of_any_length, condition, seed=2, given=given)
    assert torch.equal(again.tokens, plain.tokens) and torch.equal(again.mask, plain.mask)


@pytest.mark.parametrize("drafter", [JacobiDrafter(), JacobiDrafter("maximal", "uniform")])
def test_rows_that_are_free_take_the_next_item(of_any_length, drafter):
    """In order, and with the tokens that they have in a batch without others."""
    condition = torch.arange(23) % 3
    plain = Sampler(guidance=GUIDED).generate_sequences(of_any_length, condition, seed=2)
    sampler = SpeculativeSampler(drafter=drafter, window=4, guidance=GUIDED)
    for size in (1, 4, 40):
        [*items] = sampler.generate_many(of_any_length, condition, batch_size=size, seed=2)
        assert len(items) == 23
        for item, tokens, mask in zip(items, plain.tokens, plain.mask, strict=True):
            assert torch.equal(item, tokens[mask])
    assert [*sampler.generate_many(of_any_length, condition[:0], batch_size=2)] == []
    with pytest.raises(ValueError, match="1 item or more"):
        next(sampler.generate_many(of_any_length, condition, batch_size=0))


def test_drafters_that_cannot_go_on_begin_again(of_any_length, monkeypatch):
    monkeypatch.setattr(jacobi._JacobiDrafting, "refill", Drafting.refill)
    condition = torch.arange(9) % 3
    plain = Sampler().generate_sequences(of_any_length, condition, seed=2)
    [*items] = SpeculativeSampler(window=3).generate_many(
        of_any_length, condition, batch_size=2, seed=2
    )
    for item, tokens, mask in zip(items, plain.tokens, plain.mask, strict=True):
        assert torch.equal(item, tokens[mask])
