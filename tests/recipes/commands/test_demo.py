"""The demo on a small folder of made-up speech; the real one is `make demo`."""

import json

import pytest
import torch

from intaglio.codecs import load
from intaglio.data.formats.wave import read_wave, write_wave
from intaglio.data.synthetic.audio import speechlike
from intaglio.recipes import cli
from intaglio.recipes.commands import demo


@pytest.mark.slow
def test_the_whole_way_on_a_folder(in_tmp_path, monkeypatch):
    (in_tmp_path / "speech").mkdir()
    for number in range(40):
        wave = speechlike(32_000, 16_000, torch.Generator().manual_seed(number))
        write_wave(in_tmp_path / "speech" / f"{number}.wav", wave.view(1, -1), 16_000)
    monkeypatch.setattr(demo, "get_codec2", lambda: None)
    words = ["demo", "--data", "speech", "--minutes", "0.2", "--clips", "3"]
    monkeypatch.setattr("sys.argv", ["intaglio", *words])
    assert cli.main() == 0
    out = in_tmp_path / "demo"
    page = (out / "report.html").read_text()
    assert page.count("<audio") >= 2
    assert 'id="pictures"' in page and "woman police officer, dark skin tone" in page
    assert (out / "pictures" / "grid.png").is_file()
    codec = load(out / "codec")
    names = {path.stem for path in (out / "heldout").iterdir()}
    assert names == {path.stem for path in (out / "decoded").iterdir()}
    for name in names:
        original, _ = read_wave(out / "heldout" / f"{name}.wav")
        decoded, rate = read_wave(out / "decoded" / f"{name}.wav")
        assert decoded.shape == original.shape
        assert rate == codec.sample_rate
    systems = {record["system"] for record in json.loads((out / "eval.json").read_text())}
    assert {"original", "speech_small", "opus-6k"} <= systems


@pytest.mark.parametrize(
    ("minutes", "clock"), [(3, "00:00:03:00"), (0.2, "00:00:00:12"), (1500.5, "01:01:00:30")]
)
def test_durations_are_written_as_lightning_reads_them(minutes, clock):
    assert demo._clock(minutes) == clock


def test_impossible_wishes_are_told(monkeypatch, capsys, in_tmp_path):
    monkeypatch.setattr("sys.argv", ["intaglio", "demo", "--minutes", "0"])
    assert cli.main() == 1
    assert "must be positive" in capsys.readouterr().err
    assert not (in_tmp_path / "demo").exists()


def test_a_folder_of_somebody_else_is_left_alone(monkeypatch, capsys, in_tmp_path):
    mine = in_tmp_path / "work" / "tokens" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    monkeypatch.setattr("sys.argv", ["intaglio", "demo", "--out", "work"])
    assert cli.main() == 1
    assert "choose another --out" in capsys.readouterr().err
    assert mine.read_text() == "mine"
