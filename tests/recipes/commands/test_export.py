import json
import subprocess
import sys
from pathlib import Path

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


# the lines of the document, in a process that can import neither of the two
DOCUMENT = (Path(__file__).parents[3] / "docs" / "onnx.md").read_text()
LINES = DOCUMENT.partition("```text\n")[2].partition("```")[0]
WITHOUT_THIS_PACKAGE = f"""
import sys
sys.modules["intaglio"] = sys.modules["torch"] = None
{LINES}
print(json.dumps([ids.tolist(), wave.tolist(), decoded.shape]))
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
    captured = capsys.readouterr()
    assert captured.out.count("tokens equal at 10 lengths") == 3
    steps = [f"{kind}: {step}" for kind in formats.split(",") for step in ("writing", "comparing")]
    said = [line for line in captured.err.splitlines() if line.startswith("intaglio: ")]
    assert len(said) == 6
    assert all(line.startswith(f"intaglio: {step}") for line, step in zip(said, steps, strict=True))
    card = json.loads((out / "export.json").read_text())
    assert [record["format"] for record in card["exports"]] == formats.split(",")
    words = [sys.executable, "-c", WITHOUT_THIS_PACKAGE]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ids, wave, shape = json.loads(done.stdout.splitlines()[-1])
    assert ids == codec.encode(torch.tensor(wave)).ids.tolist() and shape == [1, 1, 2000]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            ["bundle", "-o", "mine", "--format", "torchscript"],
            "holds encoder.ts of another program",
        ),
        (["nowhere", "-o", "out"], "there is no codec at nowhere"),
    ],
)
def test_mistakes_take_one_line(tiny_codec, in_tmp_path, monkeypatch, capsys, words, reason):
    save(tiny_codec, "bundle")
    (in_tmp_path / "mine").mkdir()
    (in_tmp_path / "mine" / "encoder.ts").write_text("mine")
    assert call(monkeypatch, *words) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert reason in captured.err
    assert not (in_tmp_path / "out").exists()
    assert [path.read_text() for path in (in_tmp_path / "mine").iterdir()] == ["mine"]
