"""The demo on a small folder of synthetic speech; the real one is `make demo`."""

import json
from copy import deepcopy

import pytest
import torch

from intaglio.codecs import load
from intaglio.data.formats.wave import read_wave, write_wave
from intaglio.data.synthetic.audio import speechlike
from intaglio.export import export, onnx
from intaglio.export.graphs import Graphs
from intaglio.recipes import cli
from intaglio.recipes.commands import demo
from intaglio.recipes.evaluation.audio.recognition import Recogniser
from intaglio.recipes.evaluation.items import Item
from intaglio.recipes.evaluation.report.codec import TrainingRun
from intaglio.recipes.evaluation.report.exported import exported_files
from intaglio.recipes.evaluation.report.page import ExportedFile, Figure

RECORD = {
    "files": {"encoder.onnx": 3, "decoder.onnx": 4},
    "verified": {"tokens": 2328, "ties": 1, "error": 1e-6},
}


@pytest.mark.slow
def test_the_whole_way_on_a_folder(in_tmp_path, monkeypatch):
    (in_tmp_path / "speech").mkdir()
    for number in range(40):
        wave = speechlike(32_000, 16_000, torch.Generator().manual_seed(number))
        write_wave(in_tmp_path / "speech" / f"{number}.wav", wave.view(1, -1), 16_000)
    monkeypatch.setattr(demo, "get_codec2", lambda: None)
    words = ["demo", "--data", "speech", "--steps", "3", "--clips", "3"]
    monkeypatch.setattr("sys.argv", ["intaglio", *words])
    assert cli.main() == 0
    out = in_tmp_path / "demo"
    page = (out / "report.html").read_text()
    assert page.count("<audio") >= 2
    assert 'id="pictures"' in page and "woman police officer, dark skin tone" in page
    assert (out / "pictures" / "grid.png").is_file()
    assert "tokens in a pass" in page and "5 of 5 images have the same tokens" in page
    codec = load(out / "codec")
    names = {path.stem for path in (out / "heldout").iterdir()}
    assert names == {path.stem for path in (out / "decoded").iterdir()}
    for name in names:
        original, _ = read_wave(out / "heldout" / f"{name}.wav")
        decoded, rate = read_wave(out / "decoded" / f"{name}.wav")
        assert decoded.shape == original.shape
        assert rate == codec.sample_rate
    systems = {record["system"] for record in json.loads((out / "eval.json").read_text())}
    assert {"original", "speech", "speech, fine-tuned", "opus-6k"} <= systems
    assert "3 of 3 steps more" in page and "unfinished" not in page


@pytest.mark.parametrize(
    ("minutes", "clock"), [(3, "00:00:03:00"), (0.2, "00:00:00:12"), (1500.5, "01:01:00:30")]
)
def test_durations_are_written_as_lightning_reads_them(minutes, clock):
    assert demo._clock(minutes) == clock


def test_impossible_arguments_are_refused(monkeypatch, capsys, in_tmp_path):
    for words in (["--minutes", "0"], ["--minutes", "nan"], ["--steps", "-1"], ["--clips", "0"]):
        monkeypatch.setattr("sys.argv", ["intaglio", "demo", *words])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 2
        assert f"argument {words[0]}: it is a " in capsys.readouterr().err
    assert not (in_tmp_path / "demo").exists()


def test_a_folder_of_somebody_else_is_left_alone(monkeypatch, capsys, in_tmp_path):
    mine = in_tmp_path / "work" / "tokens" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    monkeypatch.setattr("sys.argv", ["intaglio", "demo", "--out", "work"])
    assert cli.main() == 1
    assert "choose another --out" in capsys.readouterr().err
    assert mine.read_text() == "mine"


@pytest.fixture
def exported(tiny_codec, monkeypatch, tmp_path, generator):
    """A function: what the demo reports about exported graphs that change ids and samples."""
    wave = torch.randn(4000, generator=generator)
    codebook = tiny_codec.quantizer.codebook
    codebook[32:] = codebook[:32] * (1 + 3e-8 * torch.randn(32, 8))  # twins: many rounding ties
    graphs = Graphs(tiny_codec)
    exact = deepcopy(tiny_codec.encoder).double()

    def check(ids=lambda ids: ids, samples=lambda x: x):
        def encode(wave):
            return ids(tiny_codec.quantizer.encode_ids(exact(wave.double()).float()))

        pair = (encode, lambda ids: samples(graphs.decoder(ids)))
        monkeypatch.setattr(export, "export", lambda *_: [RECORD])
        monkeypatch.setattr(onnx, "run", lambda _: pair)
        item = Item("one", wave, 1000)
        return exported_files(tiny_codec, tmp_path / "exported", item, say=demo._say)

    return check


def test_a_rounding_tie_of_the_export_is_no_failure(exported, capsys):
    encoder, decoder = exported()
    assert encoder.passed and decoder.passed and capsys.readouterr().err == ""
    assert encoder[:2] == ("exported/encoder.onnx", 3)
    assert decoder[:2] == ("exported/decoder.onnx", 4)
    assert encoder.check.startswith("2328 tokens of made-up sounds equal but for 1 rounding tie; ")
    assert "200 of one: equal but for" in encoder.check
    assert decoder.check == "samples within 1e-06 for made-up sounds, within 0 for one"


def test_a_wrong_encoder_is_no_failure_of_the_decoder(exported, capsys):
    encoder, decoder = exported(ids=lambda ids: (ids + 1) % 64)
    assert decoder.passed and not encoder.passed
    assert encoder.check.endswith("200 of one: 200 DIFFER")
    assert capsys.readouterr().err == (
        f"intaglio demo: the exported encoder.onnx FAILED: {encoder.check}\n"
    )


@pytest.mark.parametrize("error", [2e-4, float("nan")])
def test_a_wrong_decoder_is_no_failure_of_the_encoder(error, exported, capsys):
    encoder, decoder = exported(samples=lambda x: x + error)
    assert encoder.passed and not decoder.passed
    assert "the exported decoder.onnx FAILED" in capsys.readouterr().err


def test_an_export_that_is_refused_is_a_failed_check(monkeypatch, capsys, tiny_codec, tmp_path):
    def refuse(*_):
        raise ValueError("3 of 200 tokens differ")

    monkeypatch.setattr(export, "export", refuse)
    item = Item("one", torch.zeros(4000), 1000)
    [file] = exported_files(tiny_codec, tmp_path, item, say=demo._say)
    assert not file.passed and file.check == "3 of 200 tokens differ"
    assert "the export FAILED: 3 of 200 tokens differ" in capsys.readouterr().err


def test_a_training_that_was_cut_short_says_so(tiny_codec, tmp_path):
    run = TrainingRun(tiny_codec, tmp_path / "metrics.csv", 60.0, 120, 300)
    assert "unfinished" in run.warning() and "120 of 300 steps" in run.warning()
    assert run._replace(steps=300).warning() == ""


@pytest.mark.parametrize("passed", [True, False])
def test_a_failed_check_is_the_status_and_stands_on_the_page(
    passed, monkeypatch, capsys, in_tmp_path, tiny_codec
):
    """Without the training; what takes long is replaced."""
    wave = 0.1 * torch.randn(16_000)
    file = ExportedFile("exported/encoder.onnx", 5, "equal" if passed else "9 DIFFER", passed)
    monkeypatch.setattr(demo, "_fetch", lambda name: name)
    monkeypatch.setattr(demo, "load_codec", lambda *_: tiny_codec)
    monkeypatch.setattr(demo, "_heldout", lambda *_: [Item("one", wave, tiny_codec.sample_rate)])
    monkeypatch.setattr(demo, "_round_trip", lambda *_: None)
    monkeypatch.setattr(demo, "exported_files", lambda *_, **__: [file])
    monkeypatch.setattr(demo, "_images", lambda _: Figure(b"PNG", "drawn"))
    monkeypatch.setattr(demo, "_several_tokens", lambda _: Figure(b"PNG", "drawn twice"))
    monkeypatch.setattr(demo, "METRICS", ("stoi",))
    monkeypatch.setattr(demo, "BASELINES", ())
    monkeypatch.setattr(Recogniser, "is_available", lambda _: False)
    monkeypatch.setattr("sys.argv", ["intaglio", "demo", "--steps", "0"])
    assert cli.main() == (0 if passed else 1)
    said = capsys.readouterr()
    page = (in_tmp_path / "demo" / "report.html").read_text()
    assert ("check of the exported files failed" in said.err) is not passed
    assert ("A check failed: exported/encoder.onnx: 9 DIFFER" in page) is not passed
    assert "speech: a codec at" in page and "STOI " in page
