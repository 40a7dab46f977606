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
    whole, first = stream.run()
    assert whole.baseline_name == "the whole signal" and whole.ours > 0
    assert "steps of 80 ms" in whole.name and whole.note == "80 ms of latency; equal tokens"
    assert first.baseline == 80 and first.name.startswith("first chunk")


def test_other_tokens_are_no_benchmark(monkeypatch):
    step = CausalTransformer.step
    monkeypatch.setattr(CausalTransformer, "step", lambda *a: (torch.zeros_like(a[1]), step(*a)[1]))
    with pytest.raises(RuntimeError, match="stream: only .* of the tokens are those of the whole"):
        stream.run()
