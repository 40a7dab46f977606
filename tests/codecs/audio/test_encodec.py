import pytest
import torch

from intaglio.codecs.audio.encodec import encodec


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("rate", "parameters", "channels", "positions", "depth"),
    [(24_000, 14_851_810, 1, 75, 32), (48_000, 14_856_294, 2, 150, 16)],
)
def test_sizes_and_rates_are_the_published_ones(rate, parameters, channels, positions, depth):
    codec = encodec(rate)
    assert count(codec) == parameters
    assert (codec.sample_rate, codec.channels) == (rate, channels)
    assert (codec.frame_rate, codec.depth) == (positions, depth)
    assert codec.bits_per_second == 24_000
    published = {24_000: (1.5, 3, 6, 12, 24), 48_000: (3, 6, 12, 24)}[rate]
    levels = [codec.levels_at(1000 * kbps) for kbps in published]
    assert levels == {24_000: [2, 4, 8, 16, 32], 48_000: [2, 4, 8, 16]}[rate]
    assert levels == list(codec.quantizer.depths)


def test_stereo_comes_in_segments_of_a_second_with_their_loudness():
    codec = encodec(48_000).eval()
    wave = torch.randn(1, 2, 48_000 + 47_520 + 100)
    wave[..., 48_000:] *= 0.01
    tokens = codec.encode(wave, levels=1)
    assert tokens.scale.shape == (1, 3)
    assert tokens.scale[0, 0] > 50 * tokens.scale[0, 2]
    assert tokens.ids.shape[1] == 150 + 150 + -(-(100 + 480) // 320)
    assert codec.decode(tokens).shape == wave.shape


def test_the_first_latents_of_the_causal_model_see_the_mirror():
    """Published: reflected borders make latent 0 depend on the first seven hops, not on more."""
    codec = encodec().eval()
    wave = torch.randn(1, 1, 10 * 320)
    with torch.no_grad():
        before = codec.encoder(wave)[0, 0]
        for hop, seen in ((6, True), (7, False)):
            changed = wave.clone()
            changed[..., 320 * hop : 320 * hop + 100] += 1
            assert (codec.encoder(changed)[0, 0] != before).any() == seen


def test_another_rate_is_refused():
    with pytest.raises(ValueError, match="24000 or 48000, not 32000"):
        encodec(32_000)
