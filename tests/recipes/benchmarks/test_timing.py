import time

import pytest

from intaglio.recipes.benchmarks import timing


def test_the_ratio_is_the_baselines_time_over_ours(monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    calls = []
    result = timing.compare(
        "x", lambda: calls.append("o"), lambda: calls.append("b"), baseline_name="b", rounds=3
    )
    assert result.speedup == pytest.approx(1.0)
    assert result.unit == "ms"
    # two calls each to warm up and to size the work, then in turn
    assert "".join(calls) == "oobb" + "ob" * 3


def test_long_work_is_sized_by_the_call_that_warms_up(monkeypatch):
    found = iter([0.05, 0.05, 2.5])
    monkeypatch.setattr(timing, "_seconds", lambda work, count: next(found))
    assert [timing._repeats(lambda: 0) for _ in range(2)] == [4, 1]
    assert not list(found)


def test_the_middle_measurement_counts(monkeypatch):
    seconds = iter([1, 1, 1, 1, 9, 4, 2, 4, 3, 5])
    monkeypatch.setattr(timing, "_seconds", lambda work, count: next(seconds))
    result = timing.compare("x", lambda: 0, lambda: 0, baseline_name="b", rounds=3)
    assert (result.ours, result.baseline) == (3000, 4000)
    assert result.speedup == pytest.approx(4 / 3)
