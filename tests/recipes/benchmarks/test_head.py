"""The benchmark of heads: sizes as published, and loops that draw other tokens end it."""

import pytest
import torch

from intaglio.generators.heads.denoising import Denoising
from intaglio.recipes.benchmarks import head, timing


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(timing, "MIN_SECONDS", 0.0)
    for name, value in {"ROUNDS": 1, "SIZES": ("tiny",), "TOKENS": (1, 3), "STEPS": 12}.items():
        monkeypatch.setattr(head, name, value)


@pytest.mark.usefixtures("short")
def test_both_loops_are_timed_on_the_same_tokens():
    found = head.run()
    assert [one.name.rpartition(", ")[2] for one in found] == ["1 tokens", "3 tokens"]
    assert all("of size tiny, 3 blocks of 160, 12 steps, guided" in one.name for one in found)
    assert all(one.ours > 0 and one.note.endswith("apart, cpu") for one in found)


@pytest.mark.usefixtures("short")
def test_other_tokens_are_no_benchmark(monkeypatch):
    right = Denoising._modulations

    def late(self, times):
        return right(self, torch.cat([times[1:], times[:1]]))

    monkeypatch.setattr(Denoising, "_modulations", late)
    with pytest.raises(RuntimeError, match="the loops draw different tokens"):
        head.run()
