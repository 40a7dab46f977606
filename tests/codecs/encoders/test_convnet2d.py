"""Convolutional image encoders: the published numbers of parameters, layouts and grids."""

import pytest
import torch
from torch.nn import functional as F

from intaglio.codecs.encoders.convnet2d import ConvEncoder
from intaglio.codecs.layers.conv2d import (
    Attention2d,
    Downsample2d,
    ResBlock2d,
    channels_last,
    space_to_depth,
)
from intaglio.codecs.part import build, describe

SMALL = {"width": 8, "multipliers": (1, 2, 2), "blocks": 1, "groups": 4}


@pytest.mark.parametrize("style", ["vqgan", "magvit2"])
def test_latents_stand_row_by_row(style):
    encoder = ConvEncoder(5, style=style, attention=False, **SMALL).eval()
    assert (encoder.hop_length, encoder.dim, encoder.positions) == (4, 5, None)
    x = torch.randn(2, 3, 16, 32)
    latents = encoder(x)
    assert latents.shape == (2, 4 * 8, 5)
    inner = encoder.conv_in(channels_last(x))
    for level in encoder.levels:
        inner = level(inner)
    grid = encoder.conv_out(F.silu(encoder.norm_out(encoder.middle(inner))))
    for row in range(4):
        for column in range(8):
            assert torch.equal(latents[:, 8 * row + column], grid[:, :, row, column])


def layers(encoder):
    return [type(layer) for level in encoder.levels for layer in level]


def test_the_layers_of_vqgan():
    encoder = ConvEncoder(4, width=8, multipliers=(1, 2), blocks=2, groups=4)
    assert layers(encoder) == [
        *(ResBlock2d, ResBlock2d, Downsample2d),
        *(ResBlock2d, Attention2d, ResBlock2d, Attention2d),
    ]
    assert [type(layer) for layer in encoder.middle] == [ResBlock2d, Attention2d, ResBlock2d]
    assert encoder.levels[0][2].padding == (0, 1, 0, 1)
    assert encoder.conv_out.weight.shape == (4, 16, 3, 3)
    assert encoder.conv_in.bias is not None


def test_the_layers_of_magvit2_have_no_biases():
    encoder = ConvEncoder(4, width=8, multipliers=(1, 2), blocks=2, groups=4, style="magvit2")
    assert layers(encoder) == [ResBlock2d, ResBlock2d, Downsample2d, ResBlock2d, ResBlock2d]
    assert [type(layer) for layer in encoder.middle] == [ResBlock2d] * 2
    assert encoder.levels[0][2].padding == (1, 1, 1, 1)
    assert encoder.conv_out.weight.shape == (4, 16, 1, 1)
    assert encoder.conv_in.bias is None
    blocks = [module for module in encoder.modules() if isinstance(module, ResBlock2d)]
    assert len(blocks) == 6
    for block in blocks:
        convs = [layer for layer in block.modules() if isinstance(layer, torch.nn.Conv2d)]
        assert all(conv.bias is None for conv in convs)


def test_squares_of_pixels_become_channels_first():
    torch.manual_seed(0)
    whole = ConvEncoder(4, patch=2, attention=False, **SMALL)
    assert whole.hop_length == 8
    torch.manual_seed(0)
    inner = ConvEncoder(4, in_channels=12, attention=False, **SMALL)
    x = torch.randn(1, 3, 16, 24)
    assert torch.equal(whole(x), inner(space_to_depth(x, 2)))


def test_all_parameters_learn_and_an_item_is_alone():
    encoder = ConvEncoder(4, **SMALL)
    x = torch.randn(2, 3, 16, 16)
    latents = encoder(x)
    latents.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in encoder.parameters())
    torch.testing.assert_close(encoder(x[1:])[0], latents[1], atol=1e-5, rtol=1e-5)


def test_the_recipe_builds_an_equal_encoder():
    encoder = ConvEncoder(4, style="magvit2", patch=2, **SMALL)
    again = build(describe(encoder))
    again.load_state_dict(encoder.state_dict())
    x = torch.randn(1, 3, 16, 16)
    assert torch.equal(again(x), encoder(x))


def test_groups_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="divisible"):
        ConvEncoder(4, width=8)
