"""PatchGAN's discriminator."""

import json

import pytest
import torch

from intaglio.codecs.discriminators.patch import PatchDiscriminator
from intaglio.codecs.part import build, describe


def small(layers=3):
    return PatchDiscriminator(4, layers, groups=2)


def test_number_of_parameters():
    """Kernels of 4 x 4: 3 → 64 → 128 → 256 → 512 → 1, biases at both ends, and the norms."""
    count = sum(p.numel() for p in PatchDiscriminator().parameters())
    kernels = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512)
    assert count == kernels + 64 + 1 + 2 * (128 + 256 + 512)


def test_widths_double_up_to_eight_times():
    widths = [conv.weight.shape[0] for conv in small(layers=5).convs]
    assert widths == [4, 8, 16, 32, 32, 32]


def test_shapes():
    output = small()(torch.randn(2, 3, 64, 48))
    assert [tuple(scores.shape) for scores in output.logits] == [(2, 1, 6, 4)]
    shapes = [[tuple(f.shape[1:]) for f in layers] for layers in output.features]
    assert shapes == [[(4, 32, 24), (8, 16, 12), (16, 8, 6), (32, 7, 5)]]


@pytest.mark.parametrize("layers, patch", [(1, 16), (2, 34), (3, 70)])
def test_a_score_sees_a_patch(layers, patch):
    """Without the norms, which know the whole image."""
    discriminator = small(layers)
    discriminator.norms = torch.nn.ModuleList([torch.nn.Identity() for _ in discriminator.norms])
    x = torch.randn(1, 3, 128, 128, requires_grad=True)
    scores = discriminator(x).logits[0]
    middle = scores.shape[2] // 2
    scores[0, 0, middle, middle].backward()
    seen = x.grad.abs().amax((0, 1)).nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [patch, patch]


def test_the_slope_and_the_first_weights():
    discriminator = PatchDiscriminator(32, 1)
    assert float(discriminator.convs[1].weight.std().detach()) == pytest.approx(0.02, rel=0.05)
    x = torch.randn(1, 3, 16, 16)
    first = discriminator.convs[0](x)
    expected = torch.where(first > 0, first, 0.2 * first)
    torch.testing.assert_close(discriminator(x).features[0][0], expected)


def test_an_item_is_alone_and_everything_learns():
    discriminator = small()
    x = torch.randn(2, 3, 32, 32)
    scores = discriminator(x).logits[0]
    torch.testing.assert_close(discriminator(x[1:]).logits[0], scores[1:])
    scores.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in discriminator.parameters())


def test_the_recipe_builds_an_equal_discriminator():
    discriminator = small()
    again = build(json.loads(json.dumps(describe(discriminator))))
    again.load_state_dict(discriminator.state_dict())
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(again(x).logits[0], discriminator(x).logits[0])


def test_groups_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="divisible"):
        PatchDiscriminator(12)
