"""A codec and its baselines on the same recordings."""

import math

import pytest
import torch

from intaglio.codecs import load
from intaglio.data.synthetic.audio import speechlike
from intaglio.recipes.evaluation.audio.baselines import Baseline, Opus
from intaglio.recipes.evaluation.audio.comparison import evaluate_codec
from intaglio.recipes.evaluation.audio.metrics import SISDR, MelDistance
from intaglio.recipes.evaluation.items import Item
from intaglio.recipes.evaluation.rows import RoundTrip, Row
from intaglio.recipes.evaluation.scores import Metric

RATE = 8000


class Halved(Baseline):
    """Half the level for eight bits."""

    name = "halved"

    def _code(self, wave, sample_rate):
        return wave / 2, 8


class Gone(Halved):
    """A codec whose program is missing."""

    name = "gone"

    def absence(self):
        return "absent: c2enc"


class Peak(Metric):
    """Needs no original."""

    name = "peak"
    label = "Peak"
    unit = "V"
    decimals = 2
    intrusive = False

    def __call__(self, pair):
        return float(pair.decoded.abs().max())


class Missing(Metric):
    """Never there."""

    name = "missing"
    label = "Missing"

    def absence(self):
        return "absent: pip install 'intaglio[mos]'"


METRICS = [Peak(), MelDistance(), SISDR(), Missing()]


@pytest.fixture(scope="module")
def items():
    generator = torch.Generator().manual_seed(5)
    return [Item(f"{n}.wav", speechlike(4000 + 7 * n, RATE, generator), RATE) for n in range(3)]


@pytest.fixture(scope="module")
def comparison(bundle, items):
    return evaluate_codec(load(bundle), items, metrics=METRICS, baselines=[Halved(), Gone()])


def test_every_system_has_a_row(comparison, bundle):
    assert [row.system for row in comparison.rows] == ["original", "tiny", "halved", "gone"]
    assert [row.is_ours for row in comparison.rows] == [False, True, False, False]
    assert list(comparison.decoded) == ["original", "tiny", "halved"]
    assert comparison.rows[3] == Row("gone", None, {}, 0, "absent: c2enc")


def test_the_bits_are_those_of_what_was_sent(comparison, bundle, items):
    samples = sum(len(item.content) for item in items)
    frames = sum(-(-len(item.content) // 20) for item in items)
    original, ours, halved, _ = (row.bits for row in comparison.rows)
    assert original == 16 * RATE
    assert ours == pytest.approx(frames * math.log2(63) * RATE / samples)
    assert halved == pytest.approx(3 * 8 * RATE / samples)


def test_decoded_waveforms_are_the_codecs_own(comparison, bundle, items):
    codec = load(bundle)
    for item, tokens, decoded in zip(
        items, comparison.tokens, comparison.decoded["tiny"], strict=True
    ):
        assert torch.equal(tokens.ids, codec.encode(item.content[None, None]).ids)
        assert torch.allclose(decoded, codec.decode(tokens)[0, 0]) and len(decoded) == len(
            item.content
        )


def test_the_scores_belong_to_their_system(comparison, items):
    peaks = [float(item.content.abs().max()) for item in items]
    original, _, halved, _ = comparison.rows
    assert original.scores["peak"].mean == pytest.approx(sum(peaks) / 3)
    assert halved.scores["peak"].mean == pytest.approx(sum(peaks) / 6)
    assert "mel" not in original.scores and halved.scores["mel"].mean > 0.5
    assert halved.scores["si_sdr"].failures == 3  # a scaled copy has no finite ratio


def test_a_codec_of_speech_runs_through_opus_too(bundle, items):
    rows = evaluate_codec(load(bundle), items, metrics=[SISDR()], baselines=[Opus(12_000)]).rows
    assert rows[2].scores["si_sdr"].mean > 3 > rows[1].scores["si_sdr"].mean


def test_what_cannot_be_compared_is_refused(bundle, items):
    with pytest.raises(ValueError, match="no items"):
        evaluate_codec(load(bundle), [], metrics=METRICS)
    with pytest.raises(ValueError, match="the same name: original, tiny, halved, halved"):
        evaluate_codec(load(bundle), items, metrics=METRICS, baselines=[Halved(), Halved()])


def test_a_round_trip_is_cut_to_the_length_of_the_original():
    class Late(Halved):
        def _code(self, wave, sample_rate):
            return torch.cat([wave, wave]), 1

    assert Late().roundtrip(torch.ones(5), RATE) == RoundTrip(pytest.approx(torch.ones(5)), 1)
