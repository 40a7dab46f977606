"""Figures: what is drawn from which numbers, and that every figure is closed."""

import struct

import pytest
import torch

from intaglio.codecs.tokens import Tokens
from intaglio.recipes.evaluation.figures.signals import Sound, spectrograms, token_raster
from intaglio.recipes.evaluation.figures.training import (
    code_usage,
    loss_curves,
    rate_distortion,
    read_curves,
)
from intaglio.recipes.evaluation.rows import Row
from intaglio.recipes.evaluation.scores import Score
from intaglio.recipes.evaluation.usage import usage

pyplot = pytest.importorskip("matplotlib.pyplot", reason="pip install 'intaglio[demo]'")

LOG = """\
epoch,step,train/loss,val/stoi
0,9,3.5,
0,19,2.5,
0,19,,0.7
1,29,nan,
1,39,,0.8
"""


@pytest.fixture
def figures(monkeypatch):
    """Figures drawn by a test, kept from being closed."""
    drawn = []
    monkeypatch.setattr(pyplot, "close", drawn.append)
    yield drawn
    monkeypatch.undo()
    pyplot.close("all")


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def score(mean):
    return Score(mean, mean - 0.1, mean + 0.2, 5, 0)


def rows():
    return [
        Row("original", 256_000.0, {"wer": score(4.0)}, 5),
        Row("ours", 900.0, {"stoi": score(0.8), "wer": score(9.0)}, 5, is_ours=True),
        Row("opus-6k", 6_100.0, {"stoi": score(0.9), "wer": score(6.0)}, 5),
        Row("codec2-1200", None, {}, 0, "absent"),
    ]


def test_every_figure_is_a_png_and_is_closed(tmp_path):
    (tmp_path / "metrics.csv").write_text(LOG)
    wave = torch.rand(4000) - 0.5
    ids = torch.arange(40).view(1, 20, 2)
    tokens = Tokens(ids, torch.ones(1, 20, dtype=torch.bool), (64, 64))
    one = tokens._replace(ids=ids[..., :1], vocab=(64,))
    images = [
        rate_distortion(rows()),
        code_usage([usage(torch.tensor([3, 1, 0])), usage(torch.tensor([1, 1]))]),
        loss_curves(tmp_path / "metrics.csv"),
        spectrograms([Sound("a", wave), Sound("b", wave / 2)], 8000),
        token_raster(tokens, wave, 8000),
        token_raster(one, wave, 8000),
    ]
    for image in images:
        assert image.startswith(b"\x89PNG\r\n\x1a\n")
        width, height = struct.unpack(">II", image[16:24])
        assert 1000 <= width <= 2000 and 300 <= height <= width
    assert pyplot.get_fignums() == []


def test_the_rate_distortion_plot_shows_who_ran(figures):
    rate_distortion(rows())
    (figure,) = figures
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["STOI", "WER, %"]
    found = texts(figure)
    assert found.count("ours") == found.count("opus-6k") == 2
    assert "original 4.0" in found and "codec2-1200" not in found


def test_without_scores_there_is_no_rate_distortion_plot():
    with pytest.raises(ValueError, match="needs the metrics stoi or wer"):
        rate_distortion(rows()[3:])


def test_spectrograms_share_one_scale(figures):
    tone = torch.sin(torch.arange(8000) / 3)
    spectrograms([Sound("original", tone), Sound("decoded", tone / 10)], 8000)
    (figure,) = figures
    above, below = (axis.images[0] for axis in figure.axes[:2])
    assert above.get_clim() == below.get_clim() == (-80, 0)
    assert above.get_array().max() == pytest.approx(0, abs=1e-4)
    assert below.get_array().max() == pytest.approx(-20, abs=1e-3)
    assert above.get_extent() == [0, 1.0, 0, 4.0]  # seconds and kilohertz


def test_the_raster_draws_each_id_at_its_time(figures):
    ids = torch.tensor([5, 60, 7, 7])
    tokens = Tokens(ids.view(1, 4, 1), torch.ones(1, 4, dtype=torch.bool), (64,))
    token_raster(tokens, torch.zeros(400), 100, seconds=3.0)
    segments = figures[0].axes[1].collections[0].get_segments()
    drawn = [(left, right, y) for (left, y), (right, _) in (bar.tolist() for bar in segments)]
    assert drawn == [(0, 1, 5), (1, 2, 60), (2, 3, 7)]


def test_the_usage_plot_counts_what_was_used(figures):
    code_usage([usage(torch.tensor([6, 0, 2, 0]))])
    line = figures[0].axes[0].lines[0]
    assert line.get_ydata().tolist() == [0.75, 0.25]
    assert line.get_label().startswith("2 of 4 codes")


def test_curves_are_read_with_their_own_steps(tmp_path):
    log = tmp_path / "metrics.csv"
    log.write_text(LOG)
    assert read_curves(log) == {
        "train/loss": [(9, 3.5), (19, 2.5)],
        "val/stoi": [(19, 0.7), (39, 0.8)],
    }
    with pytest.raises(ValueError, match="has no loss; it has train/loss, val/stoi"):
        loss_curves(log, ["loss"])
    log.write_text("epoch,step,loss\n0,1,2.0\n")
    with pytest.raises(ValueError, match="no curve of two points"):
        loss_curves(log)
