import pytest
import torch

from intaglio.codecs.audio.mimi_small import mimi_small


@pytest.fixture(scope="module")
def codec():
    return mimi_small().eval()


def test_its_size_and_rates(codec):
    assert sum(parameter.numel() for parameter in codec.parameters()) == 2_558_417
    assert (codec.sample_rate, codec.frame_rate, codec.bits_per_second) == (16_000, 12.5, 1000)


@pytest.mark.parametrize("samples", [1, 1279, 1280, 1281, 12_803])
def test_positions_and_samples(codec, samples):
    tokens = codec.encode(0.1 * torch.randn(1, 1, samples))
    assert tokens.ids.shape == (1, -(-samples // 1280), 8)
    assert codec.decode(tokens).shape == (1, 1, samples)


def test_a_batch_equals_its_items(codec):
    wave = 0.1 * torch.randn(2, 1, 6000)
    lengths = torch.tensor([6000, 3001])
    tokens = codec.encode(wave, lengths)
    alone = codec.encode(wave[1:, :, :3001])
    assert torch.equal(tokens.ids[1, tokens.mask[1]], alone.ids[0])
    decoded = codec.decode(tokens)
    assert (decoded[1, :, :3001] - codec.decode(alone)[0]).abs().max() < 1e-5


def test_nothing_is_seen_that_comes_later(codec):
    wave = 0.1 * torch.randn(1, 1, 8 * 1280)
    changed = wave.clone()
    changed[..., 5 * 1280 :] += 0.1
    with torch.no_grad():
        latents, others = codec.encoder(wave), codec.encoder(changed)
        same = (latents == others).all(-1)[0]
        torch.testing.assert_close(latents[:, :5], others[:, :5])
        assert not same[5:].any()
        waves = [codec.decoder(x) for x in (latents, others)]
        torch.testing.assert_close(waves[0][..., : 5 * 1280], waves[1][..., : 5 * 1280])
        assert (waves[0][..., 5 * 1280 :] != waves[1][..., 5 * 1280 :]).any()


def test_it_codes_with_any_number_of_levels(codec):
    wave = 0.1 * torch.randn(1, 1, 4000)
    every = codec.encode(wave).ids
    for levels in (1, 2, 5, 8):
        tokens = codec.encode(wave, levels=levels)
        assert torch.equal(tokens.ids, every[..., :levels])
        assert codec.decode(tokens).isfinite().all()


def test_block_by_block_it_is_equal_to_the_whole(codec):
    wave = 0.1 * torch.randn(1, 1, 20_001)
    whole = codec.encode(wave)
    blocks = list(codec.encode_blocks(wave.split(3333, dim=-1)))
    assert torch.equal(torch.cat([block.ids for block in blocks], dim=1), whole.ids)
    decoded = torch.cat(list(codec.decode_blocks(blocks)), dim=-1)[..., :20_001]
    assert (decoded - codec.decode(whole)).abs().max() < 1e-5
