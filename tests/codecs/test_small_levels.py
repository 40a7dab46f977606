"""What the small codecs of 12.5 positions a second and several levels have in common."""

import pytest
import torch

from intaglio.codecs.audio.lm_spt_small import lm_spt_small
from intaglio.codecs.audio.mimi_small import mimi_small


@pytest.fixture(scope="module", params=[lm_spt_small, mimi_small])
def codec(request):
    return request.param().eval()


@pytest.mark.parametrize("samples", [1, 1279, 1280, 1281, 12_803])
def test_positions_and_samples(codec, samples):
    tokens = codec.encode(0.1 * torch.randn(1, 1, samples))
    assert tokens.ids.shape == (1, -(-samples // 1280), 8)
    assert codec.decode(tokens).shape == (1, 1, samples)


def test_a_batch_equals_its_items(codec):
    wave = 0.1 * torch.randn(2, 1, 6000)
    tokens = codec.encode(wave, torch.tensor([6000, 3001]))
    alone = codec.encode(wave[1:, :, :3001])
    assert torch.equal(tokens.ids[1, tokens.mask[1]], alone.ids[0])
    decoded = codec.decode(tokens)
    assert (decoded[1, :, :3001] - codec.decode(alone)[0]).abs().max() < 1e-5


def test_it_codes_with_any_number_of_levels(codec):
    wave = 0.1 * torch.randn(1, 1, 4000)
    every = codec.encode(wave).ids
    for levels in (1, 2, 5, 8):
        tokens = codec.encode(wave, levels=levels)
        assert torch.equal(tokens.ids, every[..., :levels])
        assert codec.decode(tokens).isfinite().all()
