"""Decoders from a sequence: what stands where, and that masked latents count for nothing."""

import pytest
import torch
from torch.nn import functional as F

from intaglio.codecs.decoders.convnet2d import ConvDecoder
from intaglio.codecs.decoders.latents import DenseDecoder, LatentDecoder
from intaglio.codecs.layers.transformer import Transformer
from intaglio.codecs.part import build, describe

GRID = (3, 3)


def decoder(smooth=True):
    return LatentDecoder(5, Transformer(8, 2, 2), 6, patch=4, grid=3, smooth=smooth)


def dense():
    inner = ConvDecoder(4, width=8, multipliers=(1, 1), blocks=1, groups=4, attention=False)
    return DenseDecoder(5, inner, 6, grid=3)


@pytest.mark.parametrize("make", [decoder, dense])
def test_the_contract(make):
    part = make()
    latents = torch.randn(2, 6, 5)
    picture = part(latents, grid=GRID)
    assert picture.shape == (2, 3, 3 * part.hop_length, 3 * part.hop_length)
    torch.testing.assert_close(part(latents[1:], grid=GRID)[0], picture[1], atol=1e-5, rtol=0)
    some = torch.tensor([[True] * 3 + [False] * 3, [True] * 6])
    decoding = part.learn(latents, picture, some, grid=GRID)
    assert decoding.losses == {}
    decoding.values.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())
    again = build(describe(part))
    again.load_state_dict(part.state_dict())
    assert torch.equal(again(latents, grid=GRID), picture)


@pytest.mark.parametrize("make", [decoder, dense])
def test_masked_latents_count_for_nothing(make):
    part = make()
    torch.nn.init.normal_(part.missing)
    latents = torch.randn(2, 6, 5)
    mask = torch.arange(6) < torch.tensor([[2], [6]])
    picture = part(latents, mask, grid=GRID)
    changed = latents.masked_fill(~mask.unsqueeze(-1), float("nan"))
    assert torch.equal(part(changed, mask, grid=GRID), picture)
    whole = part(latents, grid=GRID)
    torch.testing.assert_close(picture[1], whole[1])
    assert not torch.allclose(picture[0], whole[0], atol=1e-3)
    latents[0, 1] += 1
    assert not torch.allclose(part(latents, mask, grid=GRID)[0], picture[0], atol=1e-4)
    assert part.takes_prefixes


@pytest.mark.parametrize("make", [decoder, dense])
def test_masking_leaves_the_latents_alone(make):
    """They are needed for the backward pass and belong to the caller."""
    leaf = torch.randn(2, 6, 5, requires_grad=True)
    latents = 1 * leaf  # may be written to, as a leaf may not
    before = latents.detach().clone()
    mask = torch.arange(6) < torch.tensor([[2], [6]])
    decoding = make().learn(latents, torch.zeros(2, 3, 12, 12), mask, grid=GRID)
    decoding.values.square().sum().backward()
    assert torch.equal(latents, before)
    assert torch.equal(leaf.grad.abs().sum(-1) > 0, mask)


@pytest.mark.parametrize("smooth", [True, False])
def test_titoks_sequence_by_hand(smooth):
    """Class and mask tokens, then latents, with position embeddings; patches of pixels come out."""
    part = decoder(smooth)
    latents = torch.randn(1, 6, 5)
    mask = torch.tensor([[True, True, False, True, False, False]])
    tokens = [part.class_token[0] + part.position_embedding[0]]
    tokens += [part.mask_token[0] + part.position_embedding[1 + i] for i in range(9)]
    embedded = latents[0] @ part.embed.weight.T + part.embed.bias
    for i in range(6):
        one = embedded[i] if mask[0, i] else part.missing
        tokens.append(one + part.latent_embedding[i])
    out = part.trunk(part.before(torch.stack(tokens).unsqueeze(0)))
    patches = part.head(part.after(out[0, 1:10]))
    picture = torch.zeros(1, 3, 12, 12)
    for row in range(3):
        for column in range(3):
            square = patches[3 * row + column].view(3, 4, 4)
            picture[0, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = square
    if smooth:
        picture = F.conv2d(picture, part.smooth.weight, part.smooth.bias, padding=1)
    torch.testing.assert_close(part(latents, mask, grid=GRID), picture)


def test_a_dense_decoder_is_one_linear_map_of_all_latents():
    part = dense()
    latents = torch.randn(2, 6, 5)
    flat = latents.reshape(2, 30) @ part.linear.weight.T + part.linear.bias
    inner = torch.stack(flat.split(4, dim=1), dim=1)
    expected = part.inner(inner, grid=GRID)
    torch.testing.assert_close(part(latents, grid=GRID), expected)
    part = DenseDecoder(16, part.inner, 4, grid=24)
    assert float(part.linear.weight.std().detach()) == pytest.approx(1 / 8, rel=0.05)


def test_the_last_weight_is_of_the_last_layer():
    """Where adaptive weights are measured."""
    part = decoder()
    assert part.last_weight is part.smooth.weight
    part = decoder(smooth=False)
    assert part.last_weight is part.head.weight
    part = dense()
    assert part.last_weight is part.inner.conv_out.weight


def test_another_number_of_latents_is_refused():
    for part in (decoder(), dense()):
        with pytest.raises(RuntimeError):
            part(torch.randn(1, 7, 5), grid=GRID)
