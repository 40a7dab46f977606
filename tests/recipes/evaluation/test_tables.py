"""Rows as tables for a terminal, as Markdown and as JSON records."""

import io
import json
import re
from pathlib import Path

from rich.console import Console

from intaglio.recipes.evaluation.rows import Row
from intaglio.recipes.evaluation.scores import Metric, Score
from intaglio.recipes.evaluation.tables import (
    cell,
    notes,
    print_table,
    records,
    terminal_table,
    write_records,
)


class Column(Metric):
    """Name, label and unit alone."""

    def __init__(self, name, label, unit="", decimals=3):
        self.name, self.label, self.unit, self.decimals = name, label, unit, decimals


ROWS = [
    Row(
        "original",
        128_000.0,
        {"peak": Score(0.5, 0.4, 0.6, 3, 0), "si_sdr": Score(90.0, None, None, 3, 0)},
        3,
    ),
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
COLUMNS = [
    Column("peak", "Peak", "V", 2),
    Column("si_sdr", "SI-SDR", "dB", 1),
    Column("missing", "Missing"),
]


def test_the_notes():
    assert notes(ROWS, COLUMNS) == [
        "gone: absent: c2enc",
        "SI-SDR of ours: 2 items failed, 1 measured (silence)",
        "Missing: absent: pip install 'intaglio[mos]'",
    ]


def test_the_terminal_table():
    console = Console(width=100, file=io.StringIO())
    console.print(terminal_table(ROWS, COLUMNS))
    text = console.file.getvalue()
    for word in ("original", "128,000", "0.50", "±0.10", "901", "±0.07", "-3.0", "absent"):
        assert word in text


def test_a_table_wider_than_the_terminal_is_printed_in_parts(monkeypatch, capsys):
    columns = [Column(f"m{number}", f"Metric{number}", "dB") for number in range(9)]
    values = {one.name: Score(float(column), 0.0, 2.0, 3, 0) for column, one in enumerate(columns)}
    rows = [Row(name, 6000.0, values, 3) for name in ("a-codec-of-a-long-name@6000", "opus")]
    table = terminal_table(rows, columns, {"data": ["prompts", "songs"]})
    for terminal, parts in (("0", 1), ("1", 3)):
        monkeypatch.setenv("TTY_COMPATIBLE", terminal)
        monkeypatch.setenv("COLUMNS", "80")
        print_table(table)
        out = re.sub("\x1b.*?m", "", capsys.readouterr().out)
        assert (max(map(len, out.splitlines())) <= 80) is (parts > 1)
        assert [out.count(word) for word in ("Metric0", "Metric8", "8.000")] == [1, 1, 2]
        assert out.count("a-codec-of-a-long-name@6000") == out.count("songs") == parts
        assert out.count("6,000") == 2


def test_what_failed_everywhere_is_one_line():
    failed = Score(None, None, None, 0, 1, "no transcript")
    rows = [Row(name, None, {"wer": failed, "cer": failed}, 1) for name in ("original", "opus")]
    columns = [Column("wer", "WER"), Column("cer", "CER")]
    assert notes(rows, columns) == ["WER, CER: 1 item failed, 0 measured (no transcript)"]


def test_notes_are_empty_when_nothing_is_left_out():
    assert notes(ROWS[:1], COLUMNS[:1]) == []


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


def test_what_belongs_to_a_modality_is_a_column_or_a_fact(tmp_path: Path):
    row = Row("jpeg-q30", 1200.0, {}, 2, facts={"size": 64, "bits_per_pixel": 0.3})
    table = terminal_table([row], [], {"bytes\nan image": ["150"]}, bits="")
    assert [str(column.header) for column in table.columns] == ["system", "bytes\nan image"]
    (record,) = records([row], "pictures", bits="bits")
    assert record["bits"] == 1200 and "bits_per_second" not in record
    assert (record["size"], record["bits_per_pixel"]) == (64, 0.3)


def test_an_upper_bound_is_marked_and_qualified():
    bound = Score(4.27, 4.1, 4.5, 9, 0, "a bound: mean over orders", is_upper_bound=True)
    scores = {"nll": bound, "bits": bound}
    rows = [
        Row("maskgit", 395.0, scores, 9),
        Row("unigram", 546.0, {"nll": bound._replace(reason="")}, 9),
    ]
    nll, bits = Column("nll", "NLL"), Column("bits", "bits/dim")
    assert cell(rows[0], nll) == ("≤ 4.270", "±0.200")
    assert records(rows, "tokens")[0]["qualified"] == dict.fromkeys(scores, bound.reason)
    assert "qualified" not in records(rows, "tokens")[1]
    assert notes(rows[:1], [nll, bits]) == [f"NLL, bits/dim: {bound.reason}"]
    assert notes(rows, [nll]) == [f"NLL of maskgit: {bound.reason}"]
