import pytest
import torch

from intaglio.codecs.audio.mimi_small import mimi_small


@pytest.fixture(scope="module")
def codec():
    return mimi_small().eval()


def test_its_size_and_rates(codec):
    assert sum(parameter.numel() for parameter in codec.parameters()) == 2_558_417
    assert (codec.sample_rate, codec.frame_rate, codec.bits_per_second) == (16_000, 12.5, 1000)


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


def test_block_by_block_it_is_equal_to_the_whole(codec):
    wave = 0.1 * torch.randn(1, 1, 20_001)
    whole = codec.encode(wave)
    blocks = list(codec.encode_blocks(wave.split(3333, dim=-1)))
    assert torch.equal(torch.cat([block.ids for block in blocks], dim=1), whole.ids)
    decoded = torch.cat(list(codec.decode_blocks(blocks)), dim=-1)[..., :20_001]
    assert (decoded - codec.decode(whole)).abs().max() < 1e-5
