"""Convolutional image decoders: layouts, grids, norms set by the latents, and noise."""

import pytest
import torch
from torch.nn import functional as F

from intaglio.codecs.decoders.convnet2d import ConvDecoder
from intaglio.codecs.layers.conv2d import (
    AdaptiveGroupNorm,
    Attention2d,
    ResBlock2d,
    Upsample2d,
    depth_to_space,
)
from intaglio.codecs.part import build, describe

SMALL = {"width": 8, "multipliers": (1, 2, 2), "blocks": 1, "groups": 4}


@pytest.mark.parametrize("style", ["vqgan", "magvit2"])
def test_a_rectangle(style):
    decoder = ConvDecoder(5, style=style, attention=False, **SMALL).double()
    assert (decoder.hop_length, decoder.dim, decoder.takes_prefixes) == (4, 5, False)
    latents = torch.randn(2, 4 * 8, 5, dtype=torch.float64)
    picture = decoder(latents, grid=(4, 8))
    assert picture.shape == (2, 3, 16, 32)
    torch.testing.assert_close(decoder(latents[1:], grid=(4, 8))[0], picture[1], atol=1e-12, rtol=0)


def test_the_layers_of_vqgan():
    decoder = ConvDecoder(4, width=8, multipliers=(1, 2), blocks=2, groups=4)
    assert [[type(layer) for layer in level] for level in decoder.levels] == [
        [ResBlock2d, Attention2d, ResBlock2d, Attention2d, Upsample2d],
        [ResBlock2d, ResBlock2d],
    ]
    assert [type(layer) for layer in decoder.middle] == [ResBlock2d, Attention2d, ResBlock2d]
    assert len(decoder.adaptive) == 0
    assert decoder.levels[1][0].conv1.weight.shape == (8, 16, 3, 3)


@pytest.mark.parametrize(
    "attention, middle, count", [(True, None, 2), (False, None, 0), (False, True, 1)]
)
def test_where_attention_is(attention, middle, count):
    """KL-16's decoder has it in the middle only."""
    decoder = ConvDecoder(4, **SMALL, attention=attention, middle_attention=middle)
    found = [module for module in decoder.modules() if isinstance(module, Attention2d)]
    assert len(found) == count


def test_the_layers_of_magvit2():
    """Norms set by the latents before each level, and no biases in the blocks."""
    decoder = ConvDecoder(4, width=8, multipliers=(1, 2), blocks=2, groups=4, style="magvit2")
    assert [[type(layer) for layer in level] for level in decoder.levels] == [
        [ResBlock2d, ResBlock2d, Upsample2d],
        [ResBlock2d, ResBlock2d],
    ]
    assert [type(norm) for norm in decoder.adaptive] == [AdaptiveGroupNorm] * 2
    assert [norm.gamma.out_features for norm in decoder.adaptive] == [16, 16]
    for block in (module for module in decoder.modules() if isinstance(module, ResBlock2d)):
        assert block.conv1.bias is None and block.conv2.bias is None


@pytest.mark.parametrize("style", ["vqgan", "magvit2"])
def test_by_hand(style):
    """Latents stand row by row; the norms of magvit2 see the latents themselves, without noise."""
    decoder = ConvDecoder(4, style=style, noise=True, patch=2, **SMALL)
    torch.nn.init.normal_(decoder.conv_noise.weight, std=0.1)
    latents = torch.randn(2, 6, 4)
    generator = torch.Generator().manual_seed(3)
    maps = latents.mT.reshape(2, 4, 2, 3)
    noise = torch.randn(1, 4, 2, 3, generator=torch.Generator().manual_seed(3)).expand(
        2, -1, -1, -1
    )
    x = decoder.middle(decoder.conv_in(maps) + decoder.conv_noise(noise))
    for number, level in enumerate(decoder.levels):
        x = level(decoder.adaptive[number](x, maps) if style == "magvit2" else x)
    x = depth_to_space(decoder.conv_out(F.silu(decoder.norm_out(x))), 2)
    picture = decoder(latents, grid=(2, 3), generator=generator)
    torch.testing.assert_close(picture, x, atol=1e-5, rtol=1e-5)


def test_noise_has_no_effect_before_it_is_trained():
    torch.manual_seed(0)
    plain = ConvDecoder(4, style="magvit2", **SMALL)
    noisy = ConvDecoder(4, style="magvit2", noise=True, **SMALL)
    missing, unexpected = noisy.load_state_dict(plain.state_dict(), strict=False)
    assert missing == ["conv_noise.weight"] and not unexpected
    latents = torch.randn(2, 6, 4)
    for seed in (1, 2):
        generator = torch.Generator().manual_seed(seed)
        picture = noisy(latents, grid=(2, 3), generator=generator)
        assert torch.equal(picture, plain(latents, grid=(2, 3)))
    learnt = noisy.learn(latents, torch.zeros(2, 3, 8, 12), None, grid=(2, 3)).values
    assert torch.equal(learnt, picture)
    learnt.sum().backward()
    assert noisy.conv_noise.weight.grad.abs().max() > 0


def test_noise_is_the_same_for_every_item_but_not_in_training():
    decoder = ConvDecoder(4, noise=True, **SMALL)
    torch.nn.init.normal_(decoder.conv_noise.weight, std=0.3)
    latents = torch.randn(1, 6, 4).expand(2, -1, -1)
    picture = decoder(latents, grid=(2, 3))
    torch.testing.assert_close(picture[0], picture[1], atol=1e-5, rtol=0)
    assert torch.equal(picture, decoder(latents, grid=(2, 3)))
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(picture, decoder(latents, grid=(2, 3), generator=generator))
    assert not torch.allclose(picture, decoder(latents, grid=(2, 3), generator=generator))
    first, second = decoder.learn(latents, picture, None, grid=(2, 3)).values
    assert not torch.allclose(first, second, atol=1e-3)


@pytest.mark.parametrize("style", ["vqgan", "magvit2"])
def test_all_parameters_learn(style):
    decoder = ConvDecoder(4, style=style, **SMALL)
    latents = torch.randn(2, 6, 4)
    decoding = decoder.learn(latents, torch.zeros(2, 3, 8, 12), None, grid=(2, 3))
    assert decoding.losses == {}
    decoding.values.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in decoder.parameters())
    assert decoder.last_weight is decoder.conv_out.weight


def test_the_recipe_builds_an_equal_decoder():
    decoder = ConvDecoder(4, style="magvit2", patch=2, noise=True, **SMALL)
    again = build(describe(decoder))
    again.load_state_dict(decoder.state_dict())
    latents = torch.randn(1, 6, 4)
    assert torch.equal(again(latents, grid=(2, 3)), decoder(latents, grid=(2, 3)))


def test_a_grid_of_another_number_is_refused():
    with pytest.raises(RuntimeError, match="unflatten"):
        ConvDecoder(4, **SMALL)(torch.randn(1, 6, 4), grid=(2, 2))
