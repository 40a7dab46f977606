import pytest
import torch

from intaglio.codecs.audio.snac import snac


@pytest.mark.parametrize(
    ("rate", "parameters", "hop", "groups", "bits"),
    [
        (24_000, 19_842_914, 2048, 7, 984.375),
        (32_000, 54_546_338, 3072, 15, 1875.0),
        (44_100, 54_546_338, 3072, 15, 2583.984375),
    ],
)
def test_sizes_and_rates_are_the_published_ones(rate, parameters, hop, groups, bits):
    codec = snac(rate)
    assert sum(parameter.numel() for parameter in codec.parameters()) == parameters
    assert (codec.sample_rate, codec.hop_length) == (rate, hop)
    assert codec.vocab == (4096,) * groups
    assert codec.bits_per_second == bits


def test_the_coarsest_level_ticks_once_a_position():
    codec = snac().eval()
    tokens = codec.encode(0.1 * torch.randn(1, 1, 2048 * 3 + 1))
    assert tokens.ids.shape == (1, 4, 7)
    assert codec.quantizer.level_groups == (1, 2, 4)
    again = codec.decode(tokens)
    assert again.shape == (1, 1, 2048 * 3 + 1)
    assert torch.equal(again, codec.decode(tokens))  # the noise is fixed


def test_another_rate_is_refused():
    with pytest.raises(ValueError, match="one of 24000, 32000, 44100"):
        snac(16_000)


def test_levels_at_44_kilohertz_tick_as_released():
    codec = snac(44_100)
    ticks = [codec.frame_rate * groups for groups in codec.quantizer.level_groups]
    assert [round(rate) for rate in ticks] == [14, 29, 57, 115]
