"""The benchmark of samplers: what it reports is what was drawn, and other tokens end it."""

import pytest

from intaglio.recipes.benchmarks import sampler, timing


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(timing, "MIN_SECONDS", 0.0)
    monkeypatch.setattr(sampler, "ROUNDS", 1)
    monkeypatch.setattr(sampler, "BATCHES", (1,))
    monkeypatch.setattr(sampler, "WINDOWS", (8,))


@pytest.mark.usefixtures("short")
def test_tokens_in_a_pass_are_those_of_the_trained_generator():
    found = sampler.run()
    assert [one.name.partition(",")[0] for one in found] == ["GumbelMatch", "ModifiedRejection"]
    for one in found:
        tokens, passes = (float(one.note.split()[number]) for number in (0, 4))
        assert tokens == pytest.approx(64 / passes, abs=0.01) and tokens > 1.5


@pytest.mark.usefixtures("short")
def test_other_tokens_are_no_benchmark(monkeypatch):
    right = sampler.SpeculativeSampler.generate
    monkeypatch.setattr(
        sampler.SpeculativeSampler,
        "generate",
        lambda self, generator, condition: right(self, generator, condition, seed=1),
    )
    with pytest.raises(RuntimeError, match="those of plain sampling"):
        sampler.run()
