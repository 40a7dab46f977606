"""Codecs of convolutions and several levels, exported with open batch and time axes."""

import pytest
import torch

from intaglio.codecs import AudioCodec
from intaglio.codecs.audio.encodec import encodec
from intaglio.codecs.decoders.dac import DACDecoder
from intaglio.codecs.decoders.seanet import SEANetDecoder
from intaglio.codecs.encoders.dac import DACEncoder
from intaglio.codecs.encoders.dual import DualEncoder
from intaglio.codecs.encoders.seanet import SEANetEncoder
from intaglio.codecs.quantizers.dual import DualQuantizer
from intaglio.codecs.quantizers.factorized import FactorizedVectorQuantizer
from intaglio.codecs.quantizers.residual import ResidualQuantizer
from intaglio.codecs.quantizers.residual_fsq import ResidualFSQ
from intaglio.export.export import export
from intaglio.export.graphs import Graphs
from intaglio.export.verify import by_rounding


def encodec_like() -> AudioCodec:
    return AudioCodec(
        SEANetEncoder(8, (2, 5), width=4, lstm_layers=1, causal=True),
        ResidualFSQ(8, (5, 5), depth=2),
        SEANetDecoder(8, (2, 5), width=4, lstm_layers=1, causal=True),
        sample_rate=1000,
        name="encodec",
    )


def snac_like() -> AudioCodec:
    levels = [FactorizedVectorQuantizer(64, 50, stride=stride) for stride in (2, 1)]
    return AudioCodec(
        DACEncoder(64, (2, 5), width=16, multiple=2, depthwise=True, window=4),
        ResidualQuantizer(levels, through_levels=True),
        DACDecoder(64, (2, 5), width=64, depthwise=True, window=4, noise=True),
        sample_rate=1000,
        name="snac",
    )


def two_encoders() -> AudioCodec:
    books = [FactorizedVectorQuantizer(16, size, codebook_dim=4) for size in (30, 20, 20)]
    return AudioCodec(
        DualEncoder(*(DACEncoder(16, (5,), width=4, causal=True) for _ in range(2))),
        DualQuantizer(books[0], ResidualQuantizer(books[1:], through_levels=True)),
        DACDecoder(16, (5,), width=16, causal=True),
        sample_rate=1000,
        name="lm_spt",
    )


@pytest.mark.parametrize(
    ("make", "kinds"),
    [
        (encodec_like, ["torchscript"]),
        (snac_like, ["torchscript"]),
        (two_encoders, ["torchscript"]),
        pytest.param(encodec_like, ["onnx", "program"], marks=pytest.mark.slow),
    ],
)
def test_tokens_are_equal_at_ten_lengths(make, kinds, tmp_path, generator):
    torch.manual_seed(0)
    codec = make().eval()
    records = export(codec, tmp_path, kinds)
    assert [record["format"] for record in records] == kinds
    for record in records:
        assert len({shape[-1] for shape in record["verified"]["shapes"]}) == 10
        assert record["verified"]["ties"] == 0
        assert record["verified"]["error"] < 1e-5
    encoder, wave = Graphs(codec).encoder, torch.randn(2, 1, 400)
    ids = encoder(wave)
    others = (ids + 1) % torch.tensor(codec.vocab)
    assert by_rounding(encoder, wave, ids, generator).all()
    assert not by_rounding(encoder, wave, others, generator).any()


def test_a_codec_of_segments_is_refused(tmp_path):
    with pytest.raises(ValueError, match="encodec codes segments by their loudness"):
        export(encodec(48_000), tmp_path / "out", ["onnx"])
    assert not (tmp_path / "out").exists()
