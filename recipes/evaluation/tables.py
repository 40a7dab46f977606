"""Comparisons as a terminal table, as Markdown, and as JSON records."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from intaglio.data.formats.atomic import replacing
from intaglio.recipes.evaluation.audio.comparison import Row
from intaglio.recipes.evaluation.scores import Metric, Scored

NOTHING = "–"
NO_BREAK = "\u00a0"
MIN_WIDTH = 120  # columns of a table that does not go to a terminal
MAX_WIDTH = 1000


def heading(metric: Metric) -> str:
    """Heading of a metric's column: name, unit and the direction that is better."""
    unit = f" {metric.unit}" if metric.unit else ""
    return f"{metric.label}{unit}{NO_BREAK}{'↑' if metric.higher_is_better else '↓'}"


def cell(row: Scored, metric: Metric) -> tuple[str, str]:
    """Mean and half the width of its interval, as text; a dash where there is no value."""
    score = row.scores.get(metric.name)
    if score is None or score.mean is None:
        return (NOTHING, "") if score is None or score.failures else ("absent", "")
    mean = f"{score.mean:.{metric.decimals}f}"
    if score.low is None or score.high is None:
        return mean, ""
    return mean, f"±{(score.high - score.low) / 2:.{metric.decimals}f}"


def bit_rate(row: Row) -> str:
    """Bits per second of a system, as text."""
    return NOTHING if row.bits_per_second is None else f"{row.bits_per_second:,.0f}"


def notes(rows: Sequence[Scored], metrics: Sequence[Metric]) -> list[str]:
    """Below the table: systems that did not run, metrics absent or qualified, items that failed."""
    lines = [f"{row.system}: {row.note}" for row in rows if row.note]
    for metric in metrics:
        scores = {row.system: row.scores[metric.name] for row in rows if metric.name in row.scores}
        if reason := next((s.reason for s in scores.values() if s.reason and not s.failures), ""):
            lines.append(f"{metric.label}: {reason}")
        lines += [
            f"{metric.label} of {system}: {score.failures} items failed, {score.measured} measured "
            f"({score.reason})"
            for system, score in scores.items()
            if score.failures
        ]
    return lines


def terminal_table(
    rows: Sequence[Row], metrics: Sequence[Metric], facts: Mapping[str, Sequence[str]] | None = None
) -> Table:
    """Table for a terminal; below each mean the half width of its 95 % interval.

    Args:
        rows: of comparisons.
        metrics: columns.
        facts: more columns, before those of the metrics: a text for each row by heading.
    """
    facts = facts or {}
    table = Table(box=SIMPLE, padding=(0, 1))
    table.add_column("system", no_wrap=True)
    titles = [heading(metric).replace(" ", "\n") for metric in metrics]
    for title in ("bit/s", *facts, *titles):
        table.add_column(title, justify="right", no_wrap=True)
    for number, row in enumerate(rows):
        cells = [texts[number] for texts in facts.values()]
        cells += ["\n".join(cell(row, metric)) for metric in metrics]
        table.add_row(row.system, bit_rate(row), *cells, style="bold" if row.is_ours else "")
    return table


def print_table(table: Table) -> None:
    """Print a table as wide as it needs to be: narrower, digits would be lost."""
    console = Console()
    needed = Measurement.get(console, console.options.update(max_width=MAX_WIDTH), table).maximum
    console.width = max(console.width if console.is_terminal else MIN_WIDTH, needed)
    console.print(table)


def markdown_table(rows: Sequence[Row], metrics: Sequence[Metric]) -> str:
    """The same as a Markdown table, notes below it."""
    titles = ["System", "bit/s", *(heading(metric) for metric in metrics)]
    lines = [titles, ["---", *("---:" for _ in titles[1:])]]
    for row in rows:
        cells = [" ".join(cell(row, metric)).strip() for metric in metrics]
        name = f"**{row.system}**" if row.is_ours else row.system
        lines.append([name, bit_rate(row), *cells])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([table, *(f"\n{note}" for note in notes(rows, metrics))]) + "\n"


def records(rows: Sequence[Row], name: str) -> list[dict[str, Any]]:
    """One record a system: name, system, bits_per_second, metrics, items, and what qualifies them.

    Args:
        rows: of a comparison.
        name: of what was evaluated on, such as the data set.

    Returns:
        ``metrics`` maps a metric to its mean, or to None if it has none; ``intervals`` to the ends
        of the 95 % interval; ``failures`` to the number of items it failed on; ``absent`` to the
        reason why there is no mean.
    """
    return [_record(row, name) for row in rows]


def write_records(path: str | Path, content: Sequence[dict[str, Any]]) -> None:
    """Write JSON records; an old file is replaced when the new one is whole."""
    text = json.dumps(list(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(Path(path)) as part:
        part.write_text(text, encoding="utf-8")


def _record(row: Row, name: str) -> dict[str, Any]:
    scores = row.scores.items()
    record = {
        "name": name,
        "system": row.system,
        "bits_per_second": row.bits_per_second,
        "metrics": {metric: score.mean for metric, score in scores},
        "items": row.items,
        "intervals": {m: [s.low, s.high] for m, s in scores if s.low is not None},
        "failures": {m: s.failures for m, s in scores if s.failures},
        "absent": {m: s.reason for m, s in scores if s.mean is None},
    }
    return record | ({"note": row.note} if row.note else {})
