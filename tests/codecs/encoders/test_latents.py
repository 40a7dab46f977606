"""Encoders to a sequence: attention masks and position embeddings."""

import pytest
import torch
from torch.nn import functional as F

from intaglio.codecs.encoders.convnet2d import ConvEncoder
from intaglio.codecs.encoders.latents import DenseEncoder, LatentEncoder
from intaglio.codecs.layers.attention import causal_last
from intaglio.codecs.layers.positions import sine_grid
from intaglio.codecs.layers.transformer import Transformer
from intaglio.codecs.part import build, describe


def encoder(causal, channels=3):
    trunk = Transformer(8, 2, 2, bias=not causal, affine=not causal)
    return LatentEncoder(5, trunk, 6, patch=4, grid=3, channels=channels, causal=causal)


def dense():
    inner = ConvEncoder(4, width=8, multipliers=(1, 1), blocks=1, groups=4, attention=False)
    return DenseEncoder(5, inner, 6, grid=3)


@pytest.mark.parametrize("make", [lambda: encoder(False), lambda: encoder(True), dense])
def test_the_contract(make):
    part = make()
    x = torch.randn(2, 3, 3 * part.hop_length, 3 * part.hop_length)
    latents = part(x)
    assert latents.shape == (2, part.positions, part.dim) == (2, 6, 5)
    torch.testing.assert_close(part(x[1:])[0], latents[1], atol=1e-5, rtol=1e-5)
    latents.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())
    again = build(describe(part))
    again.load_state_dict(part.state_dict())
    assert torch.equal(again(x), latents)


def test_titoks_sequence_by_hand():
    """Class token, patches and latents with position embeddings; norms around the trunk."""
    part = encoder(False)
    x = torch.randn(2, 3, 12, 12)
    patches = F.conv2d(x, part.embed.weight, part.embed.bias, stride=4)
    rows = []
    for item in range(2):
        tokens = [part.class_token[0] + part.position_embedding[0]]
        for row in range(3):
            for column in range(3):
                position = part.position_embedding[1 + 3 * row + column]
                tokens.append(patches[item, :, row, column] + position)
        tokens += [part.latents[i] + part.latent_embedding[i] for i in range(6)]
        rows.append(torch.stack(tokens))
    out = part.trunk(part.before(torch.stack(rows)))[:, 10:]
    torch.testing.assert_close(part(x), part.head(part.after(out)))


def test_flextoks_sequence_by_hand():
    """Patches with sines, then latents, under the causal mask; a norm without weights at last."""
    part = encoder(True)
    x = torch.randn(2, 3, 12, 12)
    patches = F.conv2d(x, part.embed.weight, part.embed.bias, stride=4).flatten(2).mT
    tokens = torch.cat([patches + sine_grid(3, 3, 8), part.latents.expand(2, -1, -1)], dim=1)
    out = part.trunk(tokens, causal_last(9, 6))[:, 9:]
    torch.testing.assert_close(part(x), part.head(F.layer_norm(out, (8,))))


@pytest.mark.parametrize("causal", [True, False])
def test_a_causal_latent_does_not_see_those_behind_it(causal):
    part = encoder(causal)
    x = torch.randn(1, 3, 12, 12)
    before = part(x)
    with torch.no_grad():
        part.latents[3] += torch.randn(8)
    moved = (part(x) != before).any(-1)[0].tolist()
    assert moved == ([False] * 3 + [True] * 3 if causal else [True] * 6)


def test_fixed_places_are_no_weights():
    names = set(encoder(True).state_dict())
    assert not names & {"sines", "mask", "position_embedding", "class_token", "latent_embedding"}
    assert "trunk.blocks.0.norm1.weight" not in names


def test_a_dense_encoder_is_one_linear_map_of_all_latents():
    part = dense()
    x = torch.randn(2, 3, 6, 6)
    inner = part.inner(x).reshape(2, 9 * 4)
    expected = inner @ part.linear.weight.T + part.linear.bias
    torch.testing.assert_close(part(x), torch.stack(expected.split(5, dim=1), dim=1))
    part = DenseEncoder(16, part.inner, 64, grid=3)
    assert float(part.linear.weight.std().detach()) == pytest.approx(1 / 6, rel=0.05)


def test_another_size_of_picture_is_refused():
    with pytest.raises(RuntimeError, match="must match"):
        encoder(False)(torch.randn(1, 3, 16, 16))
