"""A codec and its baselines on the same items, and the tables and records of it."""

import io
import json
import math
from pathlib import Path

import pytest
import torch
from rich.console import Console

from intaglio.codecs import load
from intaglio.data.synthetic.audio import speechlike
from intaglio.recipes.evaluation.audio.baselines import Baseline, Opus
from intaglio.recipes.evaluation.audio.comparison import evaluate_codec
from intaglio.recipes.evaluation.audio.metrics import SISDR, MelDistance
from intaglio.recipes.evaluation.items import Item
from intaglio.recipes.evaluation.rows import RoundTrip, Row
from intaglio.recipes.evaluation.scores import Metric, Score
from intaglio.recipes.evaluation.tables import (
    markdown_table,
    notes,
    records,
    terminal_table,
    write_records,
)

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


ROWS = [
    Row("original", 128_000.0, {"peak": Score(0.5, 0.4, 0.6, 3, 0)}, 3),
    Row(
        "ours",
        901.4,
        {
            "peak": Score(0.25, 0.2, 0.34, 3, 0),
            "si_sdr": Score(-3.04, None, None, 1, 2, "silence"),
            "missing": Score(None, None, None, 0, 0, "absent: pip install 'intaglio[mos]'"),
        },
        3,
        is_ours=True,
    ),
    Row("gone", None, {}, 0, "absent: c2enc"),
]
COLUMNS = [Peak(), SISDR(), Missing()]


def test_the_markdown_table():
    lines = markdown_table(ROWS, COLUMNS).splitlines()
    assert lines == [
        "| System | bit/s | Peak V\u00a0↑ | SI-SDR dB\u00a0↑ | Missing\u00a0↑ |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| original | 128,000 | 0.50 ±0.10 | – | – |",
        "| **ours** | 901 | 0.25 ±0.07 | -3.0 | absent |",
        "| gone | – | – | – | – |",
        "",
        "gone: absent: c2enc",
        "",
        "SI-SDR of ours: 2 items failed, 1 measured (silence)",
        "",
        "Missing: absent: pip install 'intaglio[mos]'",
    ]


def test_the_terminal_table_says_the_same():
    console = Console(width=100, file=io.StringIO())
    console.print(terminal_table(ROWS, COLUMNS))
    text = console.file.getvalue()
    for word in ("original", "128,000", "0.50", "±0.10", "901", "±0.07", "-3.0", "absent"):
        assert word in text


def test_notes_are_empty_when_nothing_is_left_out():
    assert notes(ROWS[:1], [Peak()]) == []


def test_records_have_the_agreed_keys(tmp_path: Path):
    found = records(ROWS, "prompts")
    assert [(one["name"], one["system"], one["items"]) for one in found] == [
        ("prompts", "original", 3),
        ("prompts", "ours", 3),
        ("prompts", "gone", 0),
    ]
    ours = found[1]
    assert ours["bits_per_second"] == 901.4
    assert ours["metrics"] == {"peak": 0.25, "si_sdr": -3.04, "missing": None}
    assert ours["intervals"] == {"peak": [0.2, 0.34]}
    assert ours["failures"] == {"si_sdr": 2}
    assert ours["absent"] == {"missing": "absent: pip install 'intaglio[mos]'"}
    assert found[2]["note"] == "absent: c2enc" and found[2]["metrics"] == {}
    write_records(tmp_path / "eval.json", found)
    assert json.loads((tmp_path / "eval.json").read_text()) == found


def test_a_round_trip_is_cut_to_the_length_of_the_original():
    class Late(Halved):
        def _code(self, wave, sample_rate):
            return torch.cat([wave, wave]), 1

    assert Late().roundtrip(torch.ones(5), RATE) == RoundTrip(pytest.approx(torch.ones(5)), 1)
