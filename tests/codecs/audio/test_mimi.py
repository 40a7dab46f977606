import pytest
import torch

from intaglio.codecs.audio.mimi import mimi
from intaglio.codecs.audio.mimi_small import mimi_small


def test_sizes_and_rates_are_the_published_ones():
    with torch.device("meta"):
        codec = mimi()
    assert sum(parameter.numel() for parameter in codec.parameters()) == 79_308_609
    assert (codec.sample_rate, codec.hop_length, codec.frame_rate) == (24_000, 1920, 12.5)
    assert (codec.depth, codec.vocab) == (32, (2048,) * 32)
    assert (codec.bits_per_second, codec.levels_at(1100)) == (4400, 8)


def test_one_level_is_no_split():
    with pytest.raises(ValueError, match="at least one acoustic level, not 1"):
        mimi_small(1)
