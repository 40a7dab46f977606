"""The encoder of known tokens: masked ones are neither computed nor seen."""

import pytest
import torch

from intaglio.codecs.layers.transformer import Transformer
from intaglio.generators.mae_encoder import MAEEncoder

PREFIX, POSITIONS = 2, 6


@pytest.fixture
def encoder():
    """With weights that are nowhere zero or one, in double precision."""
    torch.manual_seed(0)
    encoder = MAEEncoder(Transformer(8, 2, 2), POSITIONS, prefix=PREFIX)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return encoder.double()


@pytest.fixture
def items():
    """Three items of which the first knows all, the second three tokens, the last none."""
    x = torch.randn(3, PREFIX + POSITIONS, 8, dtype=torch.float64)
    masked = torch.zeros(3, POSITIONS, dtype=torch.bool)
    masked[1, [0, 3, 4]] = True
    masked[2] = True
    return x, masked, torch.randn(8, dtype=torch.float64)


def test_it_is_a_transformer_over_the_known_tokens_alone(encoder, items):
    x, masked, token = items
    found = encoder(x, masked, token) - encoder.position_embedding
    for item in range(3):
        seen = torch.cat([torch.ones(PREFIX, dtype=torch.bool), ~masked[item]])
        known = encoder.transformer(encoder.input_norm(x[item : item + 1, seen]))
        known = encoder.projection(encoder.norm(known))[0]
        torch.testing.assert_close(found[item, seen], known, atol=1e-12, rtol=0)
        assert torch.allclose(found[item, ~seen], token, atol=1e-12, rtol=0)


def test_items_that_know_as_many_need_no_mask(encoder, items, monkeypatch):
    x, masked, token = items
    masked = masked[1].expand(3, -1)
    sizes = []

    def forward(x, mask=None, **options):
        sizes.append((tuple(x.shape), mask))
        return x

    monkeypatch.setattr(encoder.transformer, "forward", forward)
    encoder(x, masked, token)
    assert sizes == [((3, PREFIX + 3, 8), None)]


def test_masked_tokens_have_no_influence_and_known_ones_have_it(encoder, items):
    x, masked, token = items
    before = encoder(x, masked, token)
    other = x.clone()
    other[:, PREFIX:][masked] = torch.randn(9, 8, dtype=torch.float64)
    assert torch.equal(encoder(other, masked, token), before)
    other = x.clone()
    other[1, PREFIX + 1] = torch.randn(8, dtype=torch.float64)
    moved = (encoder(other, masked, token) != before).any(2)
    assert moved.tolist() == [
        [False] * 8,
        [True, True, False, True, True, False, False, True],
        [False] * 8,
    ]


def test_all_of_it_learns(encoder, items):
    x, masked, token = items
    x.requires_grad_()
    token.requires_grad_()
    encoder(x, masked, token).square().sum().backward()
    reached = x.grad.abs().sum(2) > 0
    assert torch.equal(reached[:, PREFIX:], ~masked) and bool(reached[:, :PREFIX].all())
    assert bool((token.grad != 0).all())
    # ``output_position_embedding`` is for what the decoder gives
    unused = [name for name, p in encoder.named_parameters() if p.grad is None]
    assert unused == ["output_position_embedding"]


def test_an_item_without_a_prefix_is_refused():
    with pytest.raises(ValueError, match="needs a prefix, got 0 tokens"):
        MAEEncoder(Transformer(8, 1, 2), 4, prefix=0)
