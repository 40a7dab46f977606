import json

import pytest
import torch

from intaglio.recipes import cli
from intaglio.recipes.benchmarks import decode, timing


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    pytest.importorskip("transformers")
    small = {"DIM": 16, "DEPTH": 1, "HEADS": 2, "HIDDEN": 24, "VOCAB": 19, "CLASSES": 3}
    for name, value in (small | {"BATCHES": (2,), "ROUNDS": 1}).items():
        monkeypatch.setattr(decode, name, value)
    monkeypatch.setattr(timing, "MIN_SECONDS", 0.0)


def call(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["intaglio", "bench", *words])
    return cli.main()


def test_both_ways_draw_the_same_greedy_tokens(in_tmp_path, monkeypatch):
    words = ["decode", "--tokens", "5", "--threads", "1", "--json", "b.json"]
    assert call(monkeypatch, *words) == 0
    results = json.loads((in_tmp_path / "b.json").read_text())
    assert [result["baseline_name"].split(", ")[1] for result in results] == [
        *("both halves in a batch", "guidance_scale"),
    ]
    for result in results:
        assert result["name"].startswith("5 tokens of 19") and "batch 2" in result["name"]
        assert "100.0% of greedy tokens equal" in result["note"]
        assert result["speedup"] == pytest.approx(result["baseline"] / result["ours"])


def test_transformers_draws_one_token_for_both_halves_from_the_guided_distribution():
    scores = torch.randn(2, 23).repeat_interleave(4000, 0)
    left = decode._drawing(torch.empty(0), scores)
    assert ((left == 0).sum(1) == 1).all() and left[left != 0].eq(-torch.inf).all()
    drawn = left.argmax(1)
    assert torch.equal(drawn[:4000], drawn[4000:]) and drawn.min() >= 4
    expected = (2 * scores[0] - scores[-1])[4:].softmax(-1)
    seen = drawn[:4000].bincount(minlength=23)[4:] / 4000
    assert float((seen - expected).abs().max()) < 0.035  # more than four standard deviations
    assert decode._greedy(torch.empty(0), scores)[0].argmax() == 4 + expected.argmax()


def test_weights_that_disagree_are_no_benchmark(monkeypatch):
    plain = decode._theirs

    def wrong(generator):
        theirs = plain(generator)
        theirs.lm_head.weight.copy_(theirs.lm_head.weight.roll(1, 0))
        return theirs

    monkeypatch.setattr(decode, "_theirs", wrong)
    with pytest.raises(RuntimeError, match="of the greedy tokens equal those"):
        decode.run(6)


def test_mistakes_take_one_line(monkeypatch, capsys):
    for words, status, reason in (
        (["quantizer", "--tokens", "5"], 2, "only decode takes --tokens"),
        (["decode", "--tokens", "1"], 1, "must be 2 or more"),
    ):
        assert call(monkeypatch, *words) == status
        error = capsys.readouterr().err
        assert reason in error and error.count("\n") == 1
