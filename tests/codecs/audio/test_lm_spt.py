import pytest
import torch

from intaglio.codecs.audio import lm_spt as module
from intaglio.codecs.audio.lm_spt import lm_spt, lm_spt_resynthesis
from intaglio.codecs.decoders.dac import DACDecoder
from intaglio.codecs.encoders.dac import DACEncoder


@pytest.mark.parametrize(
    ("rate", "parameters", "semantic", "acoustic", "bits"),
    [
        (25, 65_887_586, 1024, 1024, 2000),
        (12.5, 73_431_090, 16_384, 4096, 1225),
        (6.25, 82_245_682, 4096, 4096, 600),
    ],
)
def test_sizes_and_rates_are_the_published_ones(rate, parameters, semantic, acoustic, bits):
    with torch.device("meta"):
        codec, light = lm_spt(rate), lm_spt_resynthesis(rate)
    assert sum(parameter.numel() for parameter in codec.parameters()) == parameters
    assert (codec.sample_rate, codec.frame_rate) == (24_000, rate)
    assert codec.vocab == (semantic, *[acoustic] * 7)
    assert (codec.depth, codec.bits_per_second) == (8, bits)
    assert light.hop_length * rate == 16_000
    assert light.dim == codec.quantizer.dim == 1024
    assert sum(parameter.numel() for parameter in light.parameters()) < 1.3e6


def test_another_rate_is_refused():
    for build in (lm_spt, lm_spt_resynthesis):
        with pytest.raises(ValueError, match=r"one of 25, 12\.5, 6\.25, not 50"):
            build(50)


@pytest.fixture
def narrow(monkeypatch):
    """The published layers with few channels."""
    monkeypatch.setattr(module, "DIM", 32)
    for name, full, width in (("DACEncoder", DACEncoder, 4), ("DACDecoder", DACDecoder, 64)):
        monkeypatch.setattr(
            module,
            name,
            lambda *args, full=full, of=width, width, **options: full(*args, width=of, **options),
        )


@pytest.mark.usefixtures("narrow")
def test_a_causal_one_streams_what_it_gives_for_the_whole():
    codec = lm_spt(causal=True).eval()
    wave = 0.1 * torch.randn(1, 1, 4 * 1920 + 77)
    with codec.streaming() as stream:
        chunks = [stream.encode(chunk) for chunk in wave.split(1000, dim=-1)]
        chunks.append(stream.end_encoding())
        decoded = [stream.decode(chunk).values for chunk in chunks if chunk.mask.numel()]
    whole = codec.encode(wave)
    assert torch.equal(torch.cat([chunk.ids for chunk in chunks], dim=1), whole.ids)
    wave = torch.cat(decoded, dim=-1)[..., : wave.shape[-1]]
    assert (wave - codec.decode(whole)).abs().max() < 1e-5


@pytest.mark.usefixtures("narrow")
def test_one_that_looks_ahead_does_not():
    with (
        pytest.raises(ValueError, match="cannot be streamed: its encoder and decoder need"),
        lm_spt().streaming(),
    ):
        pass


def test_causal_layers_of_dac_have_no_attention_to_windows_and_no_noise():
    with pytest.raises(ValueError, match="window is 4"):
        DACEncoder(8, (2,), width=4, depthwise=True, window=4, causal=True)
    for options in ({"window": 4}, {"noise": True}):
        with pytest.raises(ValueError, match="no local attention and no noise"):
            DACDecoder(8, (2,), width=4, causal=True, **options)
