"""Multi-scale discriminator."""

import pytest
import torch

from intaglio.codecs.discriminators.multiscale import MultiScaleDiscriminator


def test_shapes_of_the_published_layers():
    discriminator = MultiScaleDiscriminator([1, 4])
    output = discriminator(torch.randn(2, 1, 4096))
    steps = [[feature.shape[-1] for feature in layers] for layers in output.features]
    assert steps == [[4096, 1024, 256, 64, 16, 16], [1024, 256, 64, 16, 4, 4]]
    widths = [feature.shape[1] for feature in output.features[0]]
    assert widths == [16, 64, 256, 1024, 1024, 1024]
    groups = [conv.groups for conv in discriminator.sub_discriminators[0].stack.convs]
    assert groups == [1, 4, 16, 64, 256, 1]


def test_lower_rates_are_really_lower():
    """The release of EnCodec's training scores the full rate three times."""
    discriminator = MultiScaleDiscriminator([1, 2], widths=[4, 8, 8])
    discriminator.sub_discriminators[1].load_state_dict(
        discriminator.sub_discriminators[0].state_dict()
    )
    slow = torch.randn(1, 1, 512)
    alternating = torch.tensor([1.0, -1.0]).repeat(512).view(1, 1, 1024)
    wave = slow.repeat_interleave(2, dim=-1) + alternating
    output = discriminator(wave)
    # the mean of two samples takes the alternation out
    torch.testing.assert_close(output.logits[1], discriminator.sub_discriminators[0](slow)[1])


def test_too_short_a_waveform_is_refused():
    with pytest.raises(ValueError, match="3 samples cannot be reduced by 4"):
        MultiScaleDiscriminator()(torch.randn(1, 1, 3))
