"""The benchmark of streams, with a small codec: tokens that differ end it."""

import pytest
import torch

from intaglio.codecs.audio.mimi_small import mimi_small
from intaglio.codecs.layers.causal_transformer import CausalTransformer
from intaglio.recipes.benchmarks import stream


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(stream, "mimi", mimi_small)
    monkeypatch.setattr(stream, "_moshi", lambda: None)
    monkeypatch.setattr(stream, "SECONDS", 2)
    monkeypatch.setattr(stream, "ROUNDS", 1)


def test_a_stream_is_timed_next_to_the_whole_signal():
    whole, reading, first = stream.run()
    assert whole.baseline_name == "the whole signal" and whole.ours > 0
    assert "steps of 80 ms" in whole.name and whole.note == "80 ms of latency; equal tokens"
    assert reading.baseline_name == "reading the weights in each step"
    assert reading.ours == whole.ours > reading.baseline > 0 and reading.note.endswith(
        "in each step"
    )
    assert first.baseline == 80 and first.name.startswith("first chunk")


def test_all_weights_are_read_each_time():
    weights = [torch.ones(3, 4), torch.ones(2, 5, 2), torch.ones(7)]
    assert stream._read(weights, 2) == 2 * (12 + 20)


def test_other_tokens_are_no_benchmark(monkeypatch):
    step = CausalTransformer.step
    monkeypatch.setattr(CausalTransformer, "step", lambda *a: (torch.zeros_like(a[1]), step(*a)[1]))
    with pytest.raises(RuntimeError, match="stream: only .* of the tokens are those of the whole"):
        stream.run()
