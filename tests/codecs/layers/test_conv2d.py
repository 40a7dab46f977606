"""Layers of convolutional image codecs, against their formulas."""

import pytest
import torch
from torch.nn import functional as F

from intaglio.codecs.layers.conv2d import (
    AdaptiveGroupNorm,
    Attention2d,
    Downsample2d,
    ResBlock2d,
    Upsample2d,
    channels_last,
    depth_to_space,
    middle,
    norm2d,
    space_to_depth,
)


def test_depth_becomes_space_row_column_channel():
    """Not the order of pixel shuffle, whose channels are the slow axis."""
    deep = torch.arange(8.0).view(1, 8, 1, 1)
    assert depth_to_space(deep, 2).tolist() == [[[[0, 2], [4, 6]], [[1, 3], [5, 7]]]]
    wide = torch.randn(2, 27, 2, 5)
    assert depth_to_space(wide, 3).shape == (2, 3, 6, 15)
    assert torch.equal(space_to_depth(depth_to_space(wide, 3), 3), wide)
    value = depth_to_space(wide, 3)[1, 2, 3 * 1 + 2, 3 * 4 + 1]
    assert value == wide[1, (2 * 3 + 1) * 3 + 2, 1, 4]


def test_one_image_may_be_stored_channels_last():
    """Strides that say nothing of the order, as of one row, one column or a view, say it after."""
    for shape in ((1, 3, 1, 1), (1, 3, 4, 5), (2, 3, 1, 5)):
        x = torch.randn(shape)
        moved = channels_last(x)
        assert torch.equal(moved, x)
        assert moved.is_contiguous(memory_format=torch.channels_last)


def test_norm_learns_behind_a_frozen_layer_in_either_order():
    """Gradients of scale and shift when nothing asks for that of the input."""
    x = torch.randn(2, 8, 5, 3)
    norm, expected = norm2d(8, 4), torch.nn.GroupNorm(4, 8, eps=1e-6)
    weights = torch.randn_like(x)
    (norm(channels_last(x)) * weights).sum().backward()
    (expected(x) * weights).sum().backward()
    torch.testing.assert_close(norm.weight.grad, expected.weight.grad)
    torch.testing.assert_close(norm.bias.grad, expected.bias.grad)
    assert not x.requires_grad
    with torch.no_grad():
        assert not norm(x).requires_grad


@pytest.mark.parametrize("style, padding", [("vqgan", (0, 1, 0, 1)), ("magvit2", (1, 1, 1, 1))])
def test_downsampling_pads_as_its_style_says(style, padding):
    layer = Downsample2d(4, style)
    x = torch.randn(2, 4, 6, 10)
    expected = F.conv2d(F.pad(x, padding), layer.conv.weight, layer.conv.bias, stride=2)
    assert torch.equal(layer(x), expected)
    assert layer(x).shape == (2, 4, 3, 5)


def test_upsampling_repeats_pixels_or_deals_channels():
    x = torch.randn(2, 4, 3, 5)
    layer = Upsample2d(4, "vqgan")
    repeated = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    expected = F.conv2d(repeated, layer.conv.weight, layer.conv.bias, padding=1)
    torch.testing.assert_close(layer(x), expected)
    layer = Upsample2d(4, "magvit2")
    assert torch.equal(layer(x), depth_to_space(layer.conv(x), 2))
    assert layer(x).shape == (2, 4, 6, 10)


def test_a_residual_block_by_hand():
    for channels in (8, 12):
        block = ResBlock2d(8, channels, groups=4)
        for parameter in block.parameters():
            torch.nn.init.normal_(parameter)
        x = torch.randn(2, 8, 3, 5)
        inner = F.group_norm(x, 4, block.norm1.weight, block.norm1.bias, eps=1e-6)
        inner = F.conv2d(F.silu(inner), block.conv1.weight, block.conv1.bias, padding=1)
        inner = F.group_norm(inner, 4, block.norm2.weight, block.norm2.bias, eps=1e-6)
        inner = F.conv2d(F.silu(inner), block.conv2.weight, block.conv2.bias, padding=1)
        # what leads past starts at the input, not at the second convolution
        past = x if channels == 8 else F.conv2d(x, block.shortcut.weight, block.shortcut.bias)
        torch.testing.assert_close(block(x), past + inner)


def test_attention_of_places_by_hand():
    """One head, scaled by the root of the channels."""
    layer = Attention2d(8, groups=2)
    x = torch.randn(2, 8, 3, 4)
    normal = F.group_norm(x, 2, layer.norm.weight, layer.norm.bias, eps=1e-6)
    q, k, v = F.conv2d(normal, layer.qkv.weight, layer.qkv.bias).flatten(2).split(8, dim=1)
    shares = (q.transpose(1, 2) @ k / 8**0.5).softmax(-1)
    mixed = (v @ shares.transpose(1, 2)).unflatten(2, (3, 4))
    expected = x + F.conv2d(mixed, layer.out.weight, layer.out.bias)
    torch.testing.assert_close(layer(x), expected)


def test_adaptive_group_norm_by_hand():
    """The scale from the unbiased standard deviation over positions, the shift from the mean."""
    layer = AdaptiveGroupNorm(8, 3, groups=2)
    x, latents = torch.randn(2, 8, 4, 6), torch.randn(2, 3, 2, 3)
    stds, means = torch.zeros(2, 3), torch.zeros(2, 3)
    for item in range(2):
        for channel in range(3):
            values = latents[item, channel].flatten().double()
            mean = values.sum() / 6
            means[item, channel] = mean
            stds[item, channel] = (((values - mean) ** 2).sum() / 5 + 1e-6).sqrt()
    scale = stds @ layer.gamma.weight.T + layer.gamma.bias
    shift = means @ layer.beta.weight.T + layer.beta.bias
    grouped = x.view(2, 2, -1)
    variance = grouped.var(-1, correction=0, keepdim=True)
    normal = (grouped - grouped.mean(-1, keepdim=True)) / (variance + 1e-6).sqrt()
    expected = scale[..., None, None] * normal.view_as(x) + shift[..., None, None]
    torch.testing.assert_close(layer(x, latents), expected, atol=1e-5, rtol=1e-4)
    assert [name for name, _ in layer.named_parameters()] == [
        *("gamma.weight", "gamma.bias", "beta.weight", "beta.bias")
    ]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_adaptive_group_norm_keeps_the_type(dtype):
    layer = AdaptiveGroupNorm(8, 3, groups=2)
    x, latents = torch.randn(2, 8, 4, 4), torch.randn(2, 3, 2, 2)
    y = layer.to(dtype)(x.to(dtype), latents.to(dtype))
    assert y.dtype == dtype
    expected = layer.double()(x.double(), latents.double())
    error = 64 * torch.finfo(dtype).eps  # of sums of three and eight rounded numbers below 10
    torch.testing.assert_close(y.double(), expected, atol=error, rtol=0)


def test_adaptive_group_norm_of_a_single_place():
    """One latent has no unbiased standard deviation; it counts as none."""
    layer = AdaptiveGroupNorm(8, 3, groups=2)
    latents = torch.randn(2, 3, 1, 1, requires_grad=True)
    y = layer(torch.randn(2, 8, 4, 4), latents)
    assert y.isfinite().all()
    y.sum().backward()
    assert latents.grad.isfinite().all()


def test_the_middle_of_either_style():
    def kinds(*style, attention):
        return [type(layer) for layer in middle(8, 3, *style, attention=attention, groups=2)]

    assert kinds("vqgan", attention=True) == [ResBlock2d, Attention2d, ResBlock2d]
    assert kinds("vqgan", attention=False) == [ResBlock2d, ResBlock2d]
    assert kinds("magvit2", attention=True) == [ResBlock2d] * 3
    for layer in middle(8, 3, "magvit2", attention=False, groups=2):
        assert layer.conv1.bias is None and layer.conv2.bias is None


def test_groups_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ValueError, match="divisible"):
        ResBlock2d(12, 12)
