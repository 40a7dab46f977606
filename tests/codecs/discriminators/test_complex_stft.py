"""Multi-scale STFT discriminator."""

import torch

from intaglio.codecs.discriminators.complex_stft import ComplexSTFTDiscriminator


def test_number_of_parameters():
    """A sub-discriminator: 2 → 32, four 32 → 32 and 32 → 1, with magnitudes and biases.

    Directions: 2 * 32 * 27 + 3 * 32 * 32 * 27 + 32 * 32 * 9 + 32 * 9 = 94 176; magnitudes and
    biases of 5 * 32 + 1 channels; the first layer has no magnitudes, as in the release.
    """
    with torch.device("meta"):
        discriminator = ComplexSTFTDiscriminator()
    count = sum(p.numel() for p in discriminator.parameters())
    assert count == 5 * (1_728 + 82_944 + 9_216 + 288 + 2 * 161 - 32)


def test_shapes_halve_the_frequencies_three_times():
    output = ComplexSTFTDiscriminator([128], channels=2, width=4)(torch.randn(3, 2, 640))
    shapes = [tuple(feature.shape) for feature in output.features[0]]
    assert shapes == [(3, 4, 21, 65), (3, 4, 21, 33), (3, 4, 21, 17), (3, 4, 21, 9), (3, 4, 21, 9)]
    assert output.logits[0].shape == (3, 1, 21, 9)


def test_the_scale_of_the_spectrum_does_not_depend_on_its_size():
    """White noise of variance one has bins of variance one."""
    discriminator = ComplexSTFTDiscriminator([128, 2048], width=4)
    noise = torch.randn(1, 1, 40_000)
    for part in discriminator.sub_discriminators:
        power = (part.stft(noise).abs() * part.scale).square().mean()
        assert 0.9 < power < 1.1


def test_channels_are_judged_together():
    discriminator = ComplexSTFTDiscriminator([128], channels=2, width=4)
    wave = torch.randn(1, 2, 640)
    other = wave.flip(1)
    assert not torch.allclose(discriminator(wave).logits[0], discriminator(other).logits[0])


def test_layers_look_further_over_time_from_one_to_the_next():
    convs = ComplexSTFTDiscriminator([128], width=4).sub_discriminators[0].stack.convs
    assert [conv.dilation for conv in convs] == [(1, 1), (1, 1), (2, 1), (4, 1), (1, 1)]


def test_all_convolutions_but_the_first_are_weight_normed():
    """As in the release, whose first convolution is a plain one."""
    (part,) = ComplexSTFTDiscriminator([128], width=4).sub_discriminators
    normed = [hasattr(conv, "parametrizations") for conv in [*part.stack.convs, part.score]]
    assert normed == [False, True, True, True, True, True]
