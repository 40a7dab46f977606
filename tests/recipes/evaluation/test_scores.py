"""Means, intervals, failures and absences of metrics."""

import sys

import pytest
import torch

from intaglio.recipes.evaluation.audio.metrics import STOI, select
from intaglio.recipes.evaluation.scores import Metric, Pair, bootstrap


class Level(Metric):
    """Value of the first sample; zero cannot be measured, and weighs its second sample."""

    name = "level"
    label = "Level"

    def __call__(self, pair):
        if pair.decoded[0] == 0:
            raise ValueError("nothing there")
        return float(pair.decoded[0])

    def weight(self, pair):
        return float(pair.decoded[1])


def pairs(*values):
    return [Pair(torch.zeros(2), torch.tensor(value), 8000) for value in values]


def test_the_mean_is_weighted(score):
    found = score(Level(), *pairs([1.0, 3.0], [5.0, 1.0]))
    assert found.mean == 2.0 and (found.measured, found.failures, found.reason) == (2, 0, "")


def test_failures_are_counted_and_explained(score):
    found = score(Level(), *pairs([0.0, 1.0], [4.0, 1.0], [float("nan"), 1.0]))
    assert found.mean == 4.0
    assert (found.measured, found.failures, found.reason) == (1, 2, "nothing there")
    assert found.low is None and found.high is None


def test_nothing_measured_is_no_number(score):
    found = score(Level(), *pairs([0.0, 1.0]))
    assert found.mean is None and found.failures == 1


@pytest.mark.parametrize("shapes", [((3,), (2,)), ((1, 3), (1, 3))])
def test_unaligned_pairs_are_refused(score, shapes):
    wrong = Pair(torch.zeros(shapes[0]), torch.zeros(shapes[1]), 8000)
    with pytest.raises(ValueError, match="pair 1: .*must both be"):
        score(Level(), *pairs([1.0, 1.0]), wrong)


def test_the_interval_covers_as_often_as_it_says():
    generator = torch.Generator().manual_seed(1)
    inside = 0
    for number in range(100):
        values = 5 + torch.randn(40, generator=generator, dtype=torch.float64)
        low, high = bootstrap(values, torch.ones(40, dtype=torch.float64), seed=number)
        inside += low < 5 < high
    # 95 % nominal, about 93.5 % for 40 items; the standard deviation of 100 trials is 2.5.
    assert 84 <= inside <= 99


def test_the_interval_is_of_the_weighted_mean():
    same = torch.full((3,), 4.0, dtype=torch.float64)
    assert bootstrap(same, torch.tensor([1.0, 9.0, 2.0]).double()) == pytest.approx((4, 4))
    heavy = torch.tensor([0.0, 1.0]).double()
    low, _ = bootstrap(heavy.repeat(50), torch.tensor([1.0, 99.0]).double().repeat(50))
    assert low > 0.97


def test_the_interval_depends_on_the_seed_alone():
    values, weights = torch.rand(2, 30, dtype=torch.float64)
    assert bootstrap(values, weights, 1) == bootstrap(values, weights, 1)
    assert bootstrap(values, weights, 1) != bootstrap(values, weights, 2)


def test_a_missing_package_is_named_with_its_extra(score, monkeypatch, voice):
    monkeypatch.setitem(sys.modules, "pystoi", None)
    found = score(STOI(), Pair(voice, voice, 16_000))
    assert found.mean is None and (found.measured, found.failures) == (0, 0)
    assert found.reason == "absent: pip install 'intaglio[metrics]' (for pystoi)"


def test_metrics_are_selected_by_name():
    assert [metric.name for metric in select(["wer", "stoi"])] == ["stoi", "wer"]
    assert {metric.name for metric in select()} >= {
        "mel",
        "si_sdr",
        "estoi",
        "pesq",
        "cer",
        "dnsmos",
    }
    with pytest.raises(ValueError, match="unknown metric snr; there are stoi"):
        select(["stoi", "snr"])
