import json

import pytest
import torch

from intaglio.recipes import cli
from intaglio.recipes.benchmarks import image, timing


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    small = {"IMAGE_SIZE": 16, "WIDTHS": (32, 32), "LATENT": 8, "CODES": 64, "CODE_SIZE": 4}
    for name, value in small.items():
        monkeypatch.setattr(image, name, value)
    monkeypatch.setattr(timing, "MIN_SECONDS", 0.0)
    pytest.importorskip("diffusers")


def test_both_ways_give_the_same_tokens(in_tmp_path, monkeypatch):
    monkeypatch.setattr(image, "_growth", lambda codes, dim: (1.0, 4.0))
    words = ["intaglio", "bench", "codec", "image", "--threads", "1", "--json", "b.json"]
    monkeypatch.setattr("sys.argv", words)
    assert cli.main() == 0
    results = json.loads((in_tmp_path / "b.json").read_text())
    assert [result["name"].split(",")[0] for result in results[:2]] == ["encode", "decode"]
    assert "100.00% of 64 tokens equal" in results[0]["note"]
    assert results[2]["speedup"] == 4


def test_a_codec_that_disagrees_is_no_benchmark(monkeypatch):
    right = image.convert

    def wrong(state, **options):
        codec = right(state, **options)
        codec.quantizer._codebook.codes.copy_(codec.quantizer._codebook.codes.flip(0))
        return codec

    monkeypatch.setattr(image, "convert", wrong)
    with torch.no_grad(), pytest.raises(RuntimeError, match="of diffusers' tokens"):
        image._vqgan()


def test_the_search_in_slices_needs_less_memory(monkeypatch):
    monkeypatch.setattr(image, "VECTORS", 2048)
    sliced, whole = image._growth(16_384, 8)
    assert whole > 100 and 2 * sliced < whole  # 128 MiB, in slices of 16


def test_a_modality_belongs_to_codecs(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["intaglio", "bench", "quantizer", "image"])
    assert cli.main() == 2
    assert "only codec takes a modality" in capsys.readouterr().err
