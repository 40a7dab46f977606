import pytest
import torch

from intaglio.codecs.audio.dac import dac
from intaglio.codecs.decoders.dac import DACDecoder
from intaglio.codecs.encoders.dac import DACEncoder


@pytest.mark.parametrize(
    ("rate", "parameters", "hop", "depth", "bits"),
    [
        (44_100, 76_651_890, 512, 9, 7751.953125),
        (24_000, 74_708_706, 320, 32, 24_000),
        (16_000, 74_175_906, 320, 12, 6_000),
    ],
)
def test_sizes_and_rates_are_the_published_ones(rate, parameters, hop, depth, bits):
    with torch.device("meta"):
        codec = dac(rate)
    assert sum(parameter.numel() for parameter in codec.parameters()) == parameters
    assert (codec.sample_rate, codec.hop_length, codec.depth) == (rate, hop, depth)
    assert codec.bits_per_second == bits


def test_a_signal_is_filled_up_with_zeros_to_whole_hops():
    encoder = DACEncoder(16, (2, 5), width=4)
    wave = torch.randn(1, 1, 33)
    padded = torch.nn.functional.pad(wave, (0, 7))
    assert torch.equal(encoder(wave), encoder(padded))
    assert encoder(wave).shape == (1, 4, 16)


def test_samples_stay_in_range():
    decoder = DACDecoder(16, (2, 5), width=16)
    y = decoder(1e4 * torch.randn(1, 4, 16))
    assert y.shape == (1, 1, 40)
    assert 0.5 < y.abs().max() <= 1


def test_another_rate_is_refused():
    with pytest.raises(ValueError, match="one of 44100, 24000, 16000"):
        dac(48_000)
