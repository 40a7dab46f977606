"""Codecs of every kind: blocks give what the whole gives, batches what their items give."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from intaglio.codecs import AudioCodec
from intaglio.codecs.decoders.dac import DACDecoder
from intaglio.codecs.decoders.seanet import SEANetDecoder
from intaglio.codecs.decoders.vocos import VocosDecoder
from intaglio.codecs.encoders.dac import DACEncoder
from intaglio.codecs.encoders.seanet import SEANetEncoder
from intaglio.codecs.quantizers.factorized import FactorizedVectorQuantizer
from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.codecs.quantizers.residual import ResidualQuantizer
from intaglio.codecs.quantizers.residual_fsq import ResidualFSQ
from intaglio.codecs.streaming import long_signals

KINDS = ["encodec", "stereo", "dac", "snac", "wavtokenizer"]


def make(kind: str) -> AudioCodec:
    """A tiny codec of a published kind, 1 kHz, 20 samples a latent."""
    torch.manual_seed(3)
    strides = (2, 2, 5)
    encoder = SEANetEncoder(8, strides, width=2, lstm_layers=1)
    decoder = SEANetDecoder(8, strides, width=2, lstm_layers=1)
    if kind == "encodec":
        encoder = SEANetEncoder(8, strides, width=2, lstm_layers=1, causal=True)
        decoder = SEANetDecoder(8, strides, width=2, lstm_layers=1, causal=True)
        codec = AudioCodec(encoder, ResidualFSQ(8, (5, 5)), decoder, sample_rate=1000, name=kind)
    elif kind == "stereo":
        encoder = SEANetEncoder(8, strides, channels=2, width=2, norm="group")
        decoder = SEANetDecoder(8, strides, channels=2, width=2, norm="group")
        codec = AudioCodec(
            encoder,
            ResidualFSQ(8, (5, 5)),
            decoder,
            sample_rate=1000,
            channels=2,
            name=kind,
            normalise=True,
            segment=400,
            overlap=30,
        )
    elif kind == "wavtokenizer":
        decoder = VocosDecoder(8, 64, intermediate=32, num_layers=1, hop_length=20, n_fft=80)
        codec = AudioCodec(encoder, FSQ(8, (5, 5, 5)), decoder, sample_rate=1000, name=kind)
    else:
        slim = {"depthwise": True, "window": 4} if kind == "snac" else {}
        first = 2 if kind == "snac" else 1
        levels = [FactorizedVectorQuantizer(64, 50, stride=s) for s in (first, 1)]
        codec = AudioCodec(
            DACEncoder(64, strides, width=8, multiple=first, **slim),
            ResidualQuantizer(levels, through_levels=True),
            DACDecoder(64, strides, width=64, noise=kind == "snac", **slim),
            sample_rate=1000,
            name=kind,
        )
    return codec.eval().requires_grad_(False)


@pytest.fixture(scope="module", params=KINDS)
def codec(request):
    return make(request.param)


def wave_of(codec: AudioCodec, samples: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(samples)
    return 0.3 * torch.randn(1, codec.channels, samples, generator=generator)


def joined(parts):
    """Tokens of several blocks as one."""
    parts = list(parts)
    scales = [part.scale for part in parts]
    return parts[0]._replace(
        ids=torch.cat([part.ids for part in parts], dim=1),
        mask=torch.cat([part.mask for part in parts], dim=1),
        scale=None if scales[0] is None else torch.cat(scales, dim=1),
    )


@settings(max_examples=15, deadline=None, derandomize=True)
@given(samples=st.integers(1, 1500), size=st.integers(1, 700), positions=st.integers(1, 40))
def test_blocks_equal_the_whole(codec, samples, size, positions):
    wave = wave_of(codec, samples)
    whole = codec.encode(wave)
    tokens = joined(codec.encode_blocks(wave.split(size, -1)))
    assert torch.equal(tokens.ids, whole.ids)
    if whole.scale is not None:
        torch.testing.assert_close(tokens.scale, whole.scale)
    starts = range(0, whole.ids.shape[1], positions)
    scale = whole.scale
    pieces = [
        whole._replace(
            ids=whole.ids[:, start : start + positions],
            mask=whole.mask[:, start : start + positions],
            lengths=None,
            # all scales come with the first block, as from a file
            scale=None if scale is None else scale[:, : scale.shape[1] if start == 0 else 0],
        )
        for start in starts
    ]
    y = torch.cat(list(codec.decode_blocks(pieces)), dim=-1)
    assert y.shape[-1] >= samples
    torch.testing.assert_close(y[..., :samples], codec.decode(whole), atol=1e-5, rtol=0)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(samples=st.integers(1, 100_000))
def test_every_length_comes_back(codec, samples):
    wave = wave_of(codec, samples)
    tokens = codec.encode(wave)
    assert tokens.ids.shape[1] == int(codec.frames(torch.tensor(samples)))
    assert codec.decode(tokens).shape == wave.shape
    parts = list(codec.encode_blocks(wave.split(7000, -1)))
    assert sum(part.ids.shape[1] for part in parts) == tokens.ids.shape[1]


def test_a_batch_equals_its_items(codec):
    lengths = torch.tensor([1200, 1199, 771, 401, 400, 370, 21, 1])
    wave = torch.randn(len(lengths), codec.channels, 1200)
    batch = codec.encode(wave, lengths)
    decoded = codec.decode(batch)
    for item, length in enumerate(lengths.tolist()):
        single = codec.encode(wave[item : item + 1, :, :length])
        positions = single.ids.shape[1]
        assert torch.equal(batch.ids[item, :positions], single.ids[0])
        assert int(batch.mask[item].sum()) == positions
        alone = codec.decode(single)[0]
        torch.testing.assert_close(decoded[item, :, :length], alone, atol=1e-5, rtol=0)
        assert not decoded[item, :, length:].any()


def test_memory_does_not_grow_with_the_signal(codec):
    """Tokens come while the signal is still coming, and samples while tokens are."""
    taken = itertools.count()

    def coming():
        for number in range(100):
            next(taken)
            yield wave_of(codec, 600 + number)

    given = codec.encode_blocks(coming())
    next(given)
    assert next(taken) < 5


def test_a_window_decoder_is_exact_on_short_signals_and_near_on_long_ones(monkeypatch):
    codec = make("wavtokenizer")
    whole = codec.encode(wave_of(codec, 9000))
    exact = codec.decode(whole)
    monkeypatch.setattr(long_signals, "WINDOW", 8.0)  # seconds, of 9
    y = torch.cat(list(codec.decode_blocks([whole])), dim=-1)
    assert torch.equal(y, exact)  # the rest would be shorter than its context
    monkeypatch.setattr(long_signals, "WINDOW", 3.0)
    y = torch.cat(list(codec.decode_blocks([whole])), dim=-1)
    assert y.shape == exact.shape
    error = (y - exact).square().mean() / exact.square().mean()
    assert 0 < error < 0.05
    jump = (y - exact).diff().abs().max()
    assert jump < 0.5 * exact.diff().abs().max()


def test_fewer_levels_are_a_prefix_that_decodes():
    for kind, groups in (("encodec", [1, 2, 3, 4]), ("dac", [1, 2]), ("snac", [1, 3])):
        codec = make(kind)
        wave = wave_of(codec, 900)
        whole = codec.encode(wave)
        assert codec.depth == len(groups)
        for level, count in enumerate(groups, 1):
            tokens = codec.encode(wave, levels=level)
            assert torch.equal(tokens.ids, whole.ids[..., :count])
            assert tokens.vocab == codec.vocab[:count]
            assert codec.decode(tokens).shape == wave.shape
            parts = joined(codec.encode_blocks(wave.split(250, -1), levels=level))
            assert torch.equal(parts.ids, tokens.ids)
    with pytest.raises(ValueError, match="has 2 levels, cannot use 3"):
        codec.encode(wave, levels=3)
    with pytest.raises(ValueError, match="the codec has"):
        codec.decode(tokens._replace(vocab=(50, 50), ids=whole.ids[..., :2]))


def test_the_bitrate_names_the_number_of_levels():
    codec = make("encodec")  # 50 positions a second, 25 codes a level: 232 bit/s each
    assert [codec.levels_at(rate) for rate in (1, 232, 233, 465, 700, 1e6)] == [1, 1, 1, 2, 3, 4]


def test_a_segments_loudness_is_taken_out_and_put_back():
    codec = make("stereo")
    wave = wave_of(codec, 1000)
    tokens, loud = codec.encode(wave), codec.encode(4 * wave)
    assert torch.equal(tokens.ids, loud.ids)
    torch.testing.assert_close(loud.scale, 4 * tokens.scale)
    torch.testing.assert_close(codec.decode(loud), 4 * codec.decode(tokens), atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="need the scale"):
        codec.decode(tokens._replace(scale=None))


def test_nothing_becomes_nothing(codec):
    assert list(codec.encode_blocks([])) == []
    assert list(codec.decode_blocks([])) == []


def test_parts_that_do_not_fit_are_refused():
    quantizer = FactorizedVectorQuantizer(64, 50, stride=2)
    parts = DACEncoder(64, (2, 2), width=8), quantizer, DACDecoder(64, (2, 2), width=8)
    with pytest.raises(ValueError, match="multiples of 2, the encoder gives multiples of 1"):
        AudioCodec(*parts, sample_rate=1000)
    parts = SEANetEncoder(8, (2, 5)), FSQ(8, (5, 5)), SEANetDecoder(8, (2, 5))
    with pytest.raises(ValueError, match="105 samples that overlap by 0 does not fill"):
        AudioCodec(*parts, sample_rate=1000, segment=105)
