import json

import pytest

from intaglio.recipes import cli
from intaglio.recipes.benchmarks import quantizer, timing


def test_the_quantizer_benchmark_prints_and_writes_its_ratios(in_tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(timing, "MIN_SECONDS", 0.0)
    monkeypatch.setattr(quantizer, "VECTORS", 64)
    monkeypatch.setattr("sys.argv", ["intaglio", "bench", "quantizer", "--json", "b.json"])
    assert cli.main() == 0
    records = json.loads((in_tmp_path / "b.json").read_text())
    assert [record["name"].split(",")[0] for record in records] == [
        *("nearest code", "nearest code", "inverse STFT"),
    ]
    printed = capsys.readouterr().out
    for record in records:
        assert record["speedup"] == pytest.approx(record["baseline"] / record["ours"])
        assert f"{record['speedup']:.2f}" in printed
    assert {"name", "ours", "baseline", "baseline_name", "unit", "speedup"} <= set(records[0])


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_a_folder_in_the_place_of_an_output_is_refused_before_the_work(refusal, tmp_path, option):
    line = refusal("bench", "sampler", option, tmp_path)
    assert line == f"{tmp_path}: it is a folder; give a file"


def test_a_search_that_disagrees_is_no_benchmark(monkeypatch):
    monkeypatch.setattr(quantizer, "VECTORS", 64)
    encode = quantizer.VectorQuantizer.encode_ids
    monkeypatch.setattr(
        quantizer.VectorQuantizer, "encode_ids", lambda self, latents: encode(self, -latents)
    )
    with pytest.raises(RuntimeError, match="tokens of 64 differ"):
        quantizer.search(8)
