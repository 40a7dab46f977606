"""simcodec_small: size, positions, and items of a batch."""

import pytest
import torch

from intaglio.codecs import load
from intaglio.codecs.audio.simcodec_small import simcodec_small
from intaglio.codecs.bundle import save


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(0)
    return simcodec_small().eval()


def test_its_size_and_rates(codec):
    assert sum(parameter.numel() for parameter in codec.parameters()) == 2_119_242
    assert (codec.sample_rate, codec.frame_rate, codec.bits_per_second) == (16_000, 50, 650)


@pytest.mark.parametrize("samples", [1, 319, 320, 321, 3203])
def test_positions_and_samples(codec, samples):
    tokens = codec.encode(0.1 * torch.randn(1, 1, samples))
    assert tokens.ids.shape == (1, -(-samples // 320), 1)
    decoded = codec.decode(tokens)
    assert decoded.shape == (1, 1, samples) and decoded.abs().max() <= 1


def test_a_batch_equals_its_items(codec):
    wave = 0.1 * torch.randn(2, 1, 4000)
    lengths = torch.tensor([4000, 2001])
    with torch.no_grad():
        latents = codec.encoder.double()(wave.double(), lengths)
        alone = codec.encoder(wave[1:, :, :2001].double())
        torch.testing.assert_close(latents[1:, : alone.shape[1]], alone)
        mask = torch.arange(latents.shape[1]) < torch.tensor([[13], [7]])
        decoded = codec.decoder.double()(latents, mask)
        torch.testing.assert_close(decoded[1:, :, : 7 * 320], codec.decoder(alone))
    codec.float()


def test_a_codec_of_the_first_stage_is_saved_as_it_encodes(tmp_path):
    torch.manual_seed(0)
    codec = simcodec_small()
    wave = 0.3 * torch.randn(2, 1, 3200)
    for _ in range(2):
        codec(wave)
    save(codec.eval(), tmp_path / "codec")
    loaded = load(tmp_path / "codec")
    assert loaded.fingerprint == codec.fingerprint
    assert torch.equal(loaded.encode(wave).ids, codec.encode(wave).ids)
