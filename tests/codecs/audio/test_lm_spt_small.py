import pytest
import torch

from intaglio.codecs.audio.lm_spt_small import lm_spt_small, lm_spt_small_resynthesis


@pytest.fixture(scope="module")
def codec():
    return lm_spt_small().eval()


@pytest.mark.parametrize(
    ("rate", "parameters", "bits"),
    [(25, 4_692_226, 2000), (12.5, 4_823_810, 1000), (6.25, 5_086_978, 500)],
)
def test_its_size_and_rates(rate, parameters, bits):
    with torch.device("meta"):
        codec, light = lm_spt_small(rate), lm_spt_small_resynthesis(rate)
    assert sum(parameter.numel() for parameter in codec.parameters()) == parameters
    assert (codec.sample_rate, codec.frame_rate, codec.bits_per_second) == (16_000, rate, bits)
    assert (light.dim, light.hop_length) == (codec.quantizer.dim, codec.hop_length)
    assert codec.vocab == (1024,) * 8


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"one of 25, 12\.5, 6\.25, not 20"):
        lm_spt_small(20)
    with pytest.raises(ValueError, match="at least one acoustic level, not 1"):
        lm_spt_small(levels=1)


@torch.no_grad()
def test_the_first_level_is_decoded_from_the_semantic_encoder_alone(codec):
    wave = 0.1 * torch.randn(1, 1, 4000)
    latents = codec.encoder.semantic(wave)
    ids = codec.quantizer.semantic.encode_ids(latents)
    assert torch.equal(codec.encode(wave, levels=1).ids, ids)
    expected = codec.decoder(codec.quantizer.semantic.decode_ids(ids))[..., :4000]
    torch.testing.assert_close(codec.decode(codec.encode(wave, levels=1)), expected)


@pytest.mark.parametrize("rate", [12.5, 6.25])
def test_a_stream_gives_what_it_gives_for_the_whole(rate):
    codec = lm_spt_small(rate).eval()
    wave = 0.1 * torch.randn(1, 1, 20_001)
    with codec.streaming() as stream:
        chunks = [stream.encode(chunk) for chunk in wave.split(3333, dim=-1)]
        chunks.append(stream.end_encoding())
        decoded = [stream.decode(chunk).values for chunk in chunks if chunk.mask.numel()]
        decoded.append(stream.end_decoding().values)
    whole = codec.encode(wave)
    assert torch.equal(torch.cat([chunk.ids for chunk in chunks], dim=1), whole.ids)
    joined = torch.cat(decoded, dim=-1)[..., : wave.shape[-1]]
    assert (joined - codec.decode(whole)).abs().max() < 1e-5
