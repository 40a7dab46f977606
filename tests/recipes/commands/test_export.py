import json

import pytest

from intaglio.codecs.bundle import save
from intaglio.recipes import cli


def call(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["intaglio", "export", *map(str, words)])
    return cli.main()


def test_all_formats_of_a_bundle(tiny_codec, tmp_path, monkeypatch, capsys):
    bundle = save(tiny_codec, tmp_path / "bundle")
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
