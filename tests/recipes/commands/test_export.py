import json
import subprocess
import sys

import pytest
import torch

from intaglio.codecs import AudioCodec
from intaglio.codecs.bundle import save
from intaglio.codecs.decoders.vocos import VocosDecoder
from intaglio.codecs.encoders.seanet import SEANetEncoder
from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.recipes import cli


def call(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["intaglio", "export", *map(str, words)])
    return cli.main()


# of the files alone: argv is the folder, the standard input a wave
WITHOUT_THIS_PACKAGE = """
import json, sys
import numpy, onnxruntime
encoder, decoder = (onnxruntime.InferenceSession(f"{sys.argv[1]}/{name}.onnx")
                    for name in ("encoder", "decoder"))
[ids] = encoder.run(None, {"wave": numpy.array(json.load(sys.stdin), dtype=numpy.float32)})
[decoded] = decoder.run(None, {"ids": ids})
assert not any(name.startswith(("intaglio", "torch")) for name in sys.modules)
print(json.dumps([ids.tolist(), decoded.shape]))
"""


def test_all_formats_of_a_bundle(tmp_path, monkeypatch, capsys):
    codec = AudioCodec(
        SEANetEncoder(8, (20,), width=4, lstm_layers=1),
        FSQ(8, (9, 7)),
        VocosDecoder(8, 64, intermediate=48, num_layers=1, hop_length=20, n_fft=80),
        sample_rate=1000,
    ).eval()
    bundle = save(codec, tmp_path / "bundle")
    out = tmp_path / "exported"
    formats = "onnx,torchscript,program"
    assert call(monkeypatch, bundle, "-o", out, "--format", formats) == 0
    names = {path.name for path in out.iterdir()}
    assert names == {
        *("encoder.onnx", "decoder.onnx", "encoder.ts", "decoder.ts"),
        *("encoder.pt2", "decoder.pt2", "export.json"),
    }
    assert capsys.readouterr().out.count("tokens equal at 10 lengths") == 3
    card = json.loads((out / "export.json").read_text())
    assert [record["format"] for record in card["exports"]] == formats.split(",")
    wave = torch.randn(1, 1, 333)
    words = [sys.executable, "-c", WITHOUT_THIS_PACKAGE, str(out)]
    text = json.dumps(wave.tolist())
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [codec.encode(wave).ids.tolist(), [1, 1, 340]]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["bundle", "-o", "out", "--format", "tflite"], "formats are onnx"),
        (["nowhere", "-o", "out"], "there is no codec at nowhere"),
    ],
)
def test_mistakes_take_one_line(tiny_codec, in_tmp_path, monkeypatch, capsys, words, reason):
    save(tiny_codec, "bundle")
    assert call(monkeypatch, *words) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert reason in captured.err
    assert not (in_tmp_path / "out").exists()
