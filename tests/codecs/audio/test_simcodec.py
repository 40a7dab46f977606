"""SimCodec: rates, sizes, and signals of any length."""

import pytest
import torch

from intaglio.codecs.audio.simcodec import simcodec


@pytest.mark.parametrize(("rate", "hop", "bits"), [(50, 320, 650), (100, 160, 1300)])
def test_rates_are_the_published_ones(rate, hop, bits):
    with torch.device("meta"):
        codec = simcodec(rate).eval()
    assert (codec.sample_rate, codec.hop_length, codec.vocab) == (16_000, hop, (8192,))
    assert (codec.frame_rate, codec.bits_per_second) == (rate, bits)


def test_its_size_is_that_of_hifi_gan_and_its_mirror_image():
    with torch.device("meta"):
        codec = simcodec()
    parts = [sum(p.numel() for p in part.parameters()) for part in (codec.encoder, codec.decoder)]
    assert parts == [47_196_704, 15_320_578]


def test_another_rate_is_refused():
    with pytest.raises(ValueError, match="50 or 100, not 75"):
        simcodec(75)
