"""Exported streams: run without this package, chunk by chunk, they give what the codec gives."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

from intaglio.codecs import AudioCodec
from intaglio.codecs.audio.speech_small import speech_small
from intaglio.codecs.decoders.bottleneck import BottleneckDecoder
from intaglio.codecs.decoders.dac import DACDecoder
from intaglio.codecs.decoders.seanet import SEANetDecoder
from intaglio.codecs.decoders.vocos import VocosDecoder
from intaglio.codecs.encoders.bottleneck import BottleneckEncoder
from intaglio.codecs.encoders.dac import DACEncoder
from intaglio.codecs.encoders.dual import DualEncoder
from intaglio.codecs.encoders.seanet import SEANetEncoder
from intaglio.codecs.encoders.spectral import SpectralEncoder
from intaglio.codecs.layers.transposed1d import ConvTranspose1d
from intaglio.codecs.quantizers.dual import DualQuantizer
from intaglio.codecs.quantizers.factorized import FactorizedVectorQuantizer
from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.codecs.quantizers.residual import ResidualQuantizer
from intaglio.codecs.quantizers.split import SplitQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer
from intaglio.export import stream
from intaglio.export.export import export

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def recurrent() -> AudioCodec:
    options = {"width": 4, "lstm_layers": 1, "causal": True}
    levels = [VectorQuantizer(8, 16, kmeans_iterations=0) for _ in range(2)]
    return AudioCodec(
        SEANetEncoder(8, (4, 5), **options),
        ResidualQuantizer(levels),
        SEANetDecoder(8, (4, 5), **options),
        sample_rate=1000,
    )


def small() -> AudioCodec:
    """Quickly exported."""
    options = {"width": 4, "lstm_layers": 0, "causal": True, "pad_mode": "constant"}
    return AudioCodec(
        SEANetEncoder(8, (5,), **options),
        FSQ(8, (5, 5)),
        SEANetDecoder(8, (5,), **options),
        sample_rate=1000,
    )


def spectra() -> AudioCodec:
    options = {"num_layers": 1, "hop_length": 20, "n_fft": 80, "attention": False, "causal": True}
    return AudioCodec(
        SpectralEncoder(8, 10, (2,), num_layers=(1, 1), n_fft=40, width=8, causal=True),
        FSQ(8, (5, 5)),
        VocosDecoder(8, 32, intermediate=32, **options),
        sample_rate=1000,
    )


def attention() -> AudioCodec:
    """With a window that a signal is longer than."""
    options = {"width": 4, "lstm_layers": 0, "causal": True, "pad_mode": "constant"}
    bottleneck = {"depth": 1, "heads": 2, "window": 9, "layer_scale": 0.5}
    halves = [FSQ(16, (5, 5)), VectorQuantizer(16, 9, kmeans_iterations=0)]
    return AudioCodec(
        BottleneckEncoder(SEANetEncoder(16, (2, 5), **options), **bottleneck),
        SplitQuantizer(16, *halves),
        BottleneckDecoder(SEANetDecoder(16, (2, 5), **options), **bottleneck),
        sample_rate=1000,
    )


def two_encoders() -> AudioCodec:
    books = [FactorizedVectorQuantizer(8, size, codebook_dim=4) for size in (30, 20)]
    return AudioCodec(
        DualEncoder(*(DACEncoder(8, (5,), width=4, causal=True) for _ in range(2))),
        DualQuantizer(books[0], books[1]),
        DACDecoder(8, (5,), width=8, causal=True),
        sample_rate=1000,
        name="lm_spt",
    )


@pytest.mark.parametrize("make", [recurrent, spectra, attention, two_encoders])
def test_run_without_this_package(
    make: Callable[[], AudioCodec], root, tmp_path, monkeypatch
) -> None:
    codec = make().eval()
    [record] = export(codec, tmp_path / "exported", ["stream"])
    assert record["files"].keys() == {"encoder_stream.onnx", "decoder_stream.onnx"}
    lines = (root / "docs" / "streaming.md").read_text().partition("```text\n")[2]
    lines = lines.partition("```")[0]
    program = f"""
import sys
sys.modules["intaglio"] = sys.modules["torch"] = None
{lines}
print(json.dumps([numpy.concatenate(x, 1 + i).tolist() for i, x in enumerate((ids, decoded))]))
print(json.dumps(wave.tolist()))
"""
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (ids, decoded), wave = map(json.loads, done.stdout.splitlines())
    tokens = codec.encode(torch.tensor(wave))
    assert torch.equal(torch.tensor(ids), tokens.ids)
    whole, delay = codec.decode(tokens), codec.decoder.delay
    size = whole.shape[-1] - delay
    assert (torch.tensor(decoded)[..., delay:] - whole[..., :size]).abs().max() < 1e-5


def test_a_codec_that_looks_ahead_is_refused_before_anything_is_written(tmp_path) -> None:
    with pytest.raises(ValueError, match="cannot be streamed: its encoder and decoder need"):
        export(speech_small(), tmp_path / "exported", ["stream"])
    assert not (tmp_path / "exported").exists()


def test_both_kinds_lie_in_one_folder(tmp_path) -> None:
    codec = small()
    export(codec, tmp_path, ["torchscript"])
    export(codec, tmp_path, ["stream"])
    card = json.loads((tmp_path / "export.json").read_text())
    assert [record["format"] for record in card["exports"]] == ["torchscript", "stream"]
    names = {f"{part}{end}" for part in ("encoder", "decoder") for end in (".ts", "_stream.onnx")}
    assert {path.name for path in tmp_path.iterdir()} == {*names, "export.json"}


def test_a_graph_that_differs_is_not_written(tmp_path, monkeypatch) -> None:
    """The graphs forget half of what a transposed convolution leaves; the codec does not."""
    step = ConvTranspose1d.step

    def forgetful(self, x, state):
        y, new = step(self, x, state)
        return y, {name: value / 2 if recording else value for name, value in new.items()}

    recording = True
    monkeypatch.setattr(ConvTranspose1d, "step", forgetful)
    capture = stream.capture

    def captured(*arguments):
        nonlocal recording
        recording = True
        program = capture(*arguments)
        recording = False
        return program

    monkeypatch.setattr(stream, "capture", captured)
    with pytest.raises(ValueError, match="the exported stream gives 0 of .* nothing was written"):
        export(small(), tmp_path / "exported", ["stream"])
    assert not (tmp_path / "exported").exists()
