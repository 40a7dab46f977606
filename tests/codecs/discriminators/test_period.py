"""Multi-period discriminator."""

import json

import pytest
import torch

from intaglio.codecs.discriminators.period import MultiPeriodDiscriminator
from intaglio.codecs.part import build, describe


def test_number_of_parameters():
    """Five sub-discriminators of six weight-normed convolutions each.

    | layer           | directions (kernel 5, last 3) | magnitudes | biases |
    |-----------------|-------------------------------|------------|--------|
    | 1 → 32          | 160                           | 32         | 32     |
    | 32 → 128        | 20 480                        | 128        | 128    |
    | 128 → 512       | 327 680                       | 512        | 512    |
    | 512 → 1024      | 2 621 440                     | 1024       | 1024   |
    | 1024 → 1024     | 5 242 880                     | 1024       | 1024   |
    | 1024 → 1        | 3 072                         | 1          | 1      |
    | sum             | 8 215 712                     | 2 721      | 2 721  |
    """
    with torch.device("meta"):
        discriminator = MultiPeriodDiscriminator()
    count = sum(p.numel() for p in discriminator.parameters())
    assert count == 5 * (8_215_712 + 2 * 2_721) == 41_105_770


def test_shapes():
    """1000 samples: rows are ceil(1000 / period), then divided by 3, rounded up, twice."""
    discriminator = MultiPeriodDiscriminator([2, 7, 11], channels=[4, 6, 8])
    output = discriminator(torch.randn(3, 1, 1000))
    shapes = [[tuple(f.shape) for f in layers] for layers in output.features]
    assert shapes == [
        [(3, 4, 167, 2), (3, 6, 56, 2), (3, 8, 56, 2)],
        [(3, 4, 48, 7), (3, 6, 16, 7), (3, 8, 16, 7)],
        [(3, 4, 31, 11), (3, 6, 11, 11), (3, 8, 11, 11)],
    ]
    logits = [tuple(scores.shape) for scores in output.logits]
    assert logits == [(3, 1, 56, 2), (3, 1, 16, 7), (3, 1, 11, 11)]


@pytest.mark.parametrize("samples", [9, 10, 11, 12])
def test_rows_of_one_period(samples):
    """What the first convolution sees: consecutive samples along a row, the end reflected."""
    discriminator = MultiPeriodDiscriminator([3], channels=[2, 2])
    seen = []
    discriminator.sub_discriminators[0].stack.convs[0].register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0])
    )
    discriminator(torch.arange(float(samples)).reshape(1, 1, samples))
    last = samples - 1
    expected = [*range(samples), last - 1, last - 2][: 3 * -(-samples // 3)]
    assert seen[0].flatten().tolist() == expected
    assert seen[0].shape == (1, 1, -(-samples // 3), 3)


def test_phases_of_a_period_do_not_mix():
    """Samples of one phase have influence on the scores of their column only."""
    discriminator = MultiPeriodDiscriminator([5], channels=[4, 4, 4])
    x = torch.randn(1, 1, 200, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[..., 2::5] += 1
    before, after = (discriminator(signal).logits[0] for signal in (x, changed))
    moved = (before != after).any(dim=2).flatten()
    assert moved.tolist() == [False, False, True, False, False]


def test_channels_are_judged_one_by_one():
    discriminator = MultiPeriodDiscriminator([2, 3], channels=[4, 4])
    x = torch.randn(2, 2, 100)
    stereo, mono = discriminator(x), discriminator(x.reshape(4, 1, 100))
    torch.testing.assert_close(stereo.logits, mono.logits)


def test_too_short_a_waveform():
    with pytest.raises(ValueError, match="5 samples is too short for period 11"):
        MultiPeriodDiscriminator([11], channels=[4, 4])(torch.zeros(1, 1, 5))


def test_every_convolution_is_weight_normed():
    """Scaling the directions of all weights must change nothing."""
    discriminator = MultiPeriodDiscriminator([2], channels=[4, 4])
    x = torch.randn(1, 1, 50)
    before = discriminator(x).logits[0]
    with torch.no_grad():
        for name, parameter in discriminator.named_parameters():
            if name.endswith("original1"):
                parameter.mul_(3)
    torch.testing.assert_close(discriminator(x).logits[0], before)


def test_the_recipe_builds_an_equal_discriminator():
    discriminator = MultiPeriodDiscriminator((2, 3), channels=(4, 8))
    again = build(json.loads(json.dumps(describe(discriminator))))
    again.load_state_dict(discriminator.state_dict())
    x = torch.randn(1, 1, 100)
    torch.testing.assert_close(again(x), discriminator(x))
