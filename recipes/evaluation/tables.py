"""Rows as a table for a terminal and as JSON records."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Column, Table

from intaglio.data.formats.atomic import replacing
from intaglio.data.formats.printable import counted
from intaglio.recipes.evaluation.rows import Row
from intaglio.recipes.evaluation.scores import Metric

NOTHING = "–"
NO_BREAK = "\u00a0"
MAX_WIDTH = 1000
ROW_NAMES = ("system", "data")  # headings of the columns that say what a row is


def heading(metric: Metric) -> str:
    """Heading of a metric's column: name, unit and the direction that is better."""
    unit = f" {metric.unit}" if metric.unit else ""
    return f"{metric.label}{unit}{NO_BREAK}{'↑' if metric.higher_is_better else '↓'}"


def cell(row: Row, metric: Metric) -> tuple[str, str]:
    """Mean and half the width of its interval, as text; a dash where there is no value."""
    score = row.scores.get(metric.name)
    if score is None or score.mean is None:
        return (NOTHING, "") if score is None or score.failures else ("absent", "")
    mean = f"{'≤ ' * score.is_upper_bound}{score.mean:.{metric.decimals}f}"
    if score.low is None or score.high is None:
        return mean, ""
    return mean, f"±{(score.high - score.low) / 2:.{metric.decimals}f}"


def bits_text(row: Row) -> str:
    """Bits of a system, of a second or of an image, as text."""
    return NOTHING if row.bits is None else f"{row.bits:,.0f}"


def notes(rows: Sequence[Row], metrics: Sequence[Metric]) -> list[str]:
    """Below the table: systems that did not run, metrics absent or qualified, items that failed.

    Metrics and systems with the same reason share a line; systems are named unless all have it.
    """
    lines = [f"{row.system}: {row.note}" for row in rows if row.note]
    labels: dict[tuple[str, str], list[str]] = {}  # of metrics, by systems and reason
    for metric in metrics:
        scores = {row.system: row.scores[metric.name] for row in rows if metric.name in row.scores}
        reasons: dict[str, list[str]] = {}  # systems by reason
        for system, score in scores.items():
            reason = score.reason
            if score.failures:
                failed = counted(score.failures, "item")
                reason = f"{failed} failed, {score.measured} measured ({reason})"
            if reason:
                reasons.setdefault(reason, []).append(system)
        for reason, systems in reasons.items():
            one_failed = len(systems) == 1 and scores[systems[0]].failures
            every = len(systems) == len(scores) and not one_failed
            which = "" if every else f" of {', '.join(systems)}"
            labels.setdefault((which, reason), []).append(metric.label)
    shared = [f"{', '.join(found)}{which}: {reason}" for (which, reason), found in labels.items()]
    return lines + shared


def terminal_table(
    rows: Sequence[Row],
    metrics: Sequence[Metric],
    columns: Mapping[str, Sequence[str]] | None = None,
    *,
    bits: str = "bit/s",
) -> Table:
    """Table for a terminal; below each mean the half width of its 95 % interval.

    Args:
        rows: of comparisons.
        metrics: columns.
        columns: more columns, before those of the metrics: a text for each row by heading.
        bits: heading of the column of bits; "" for none.
    """
    columns = ({bits: [bits_text(row) for row in rows]} if bits else {}) | dict(columns or {})
    table = Table(box=SIMPLE, padding=(0, 1))
    table.add_column("system", no_wrap=True)
    titles = [escape(heading(metric)).replace(" ", "\n") for metric in metrics]
    for title in (*columns, *titles):
        table.add_column(title, justify="right", no_wrap=True)
    for number, row in enumerate(rows):
        cells = [texts[number] for texts in columns.values()]
        cells += ["\n".join(cell(row, metric)) for metric in metrics]
        table.add_row(row.system, *cells, style="bold" if row.is_ours else "")
    return table


def print_table(table: Table) -> None:
    """Print a table: whole, or to a terminal that is too narrow in parts that fit one by one."""
    console = Console()
    if not console.is_terminal:
        console.width = MAX_WIDTH
    for part in _parts(table, console):
        console.width = max(console.width, _width(part, console))  # digits are never cut off
        console.print(part)


def _parts(table: Table, console: Console) -> Iterator[Table]:
    """Tables that the console is wide enough for, each with the columns that say what a row is."""
    names = [column for column in table.columns if column.header in ROW_NAMES]
    left = [column for column in table.columns if column.header not in ROW_NAMES]
    part = table
    while _width(part, console) > console.width and len(left) > 1:
        for count in range(len(left) - 1, 0, -1):
            part = _of_columns(table, names + left[:count])
            if _width(part, console) <= console.width:
                break
        yield part
        left = left[count:]
        part = _of_columns(table, names + left)
    yield part


def _of_columns(table: Table, columns: Sequence[Column]) -> Table:
    part = Table(box=table.box, padding=table.padding, title=table.title)
    for column in columns:
        part.add_column(column.header, justify=column.justify, no_wrap=column.no_wrap)
    cells_of_rows = zip(*(column.cells for column in columns), strict=True)
    for row, cells in zip(table.rows, cells_of_rows, strict=True):
        part.add_row(*cells, style=row.style)
    return part


def _width(table: Table, console: Console) -> int:
    options = console.options.update(max_width=MAX_WIDTH)
    return Measurement.get(console, options, table).maximum


def records(
    rows: Sequence[Row], name: str, *, bits: str = "bits_per_second"
) -> list[dict[str, Any]]:
    """One record a system: name, system, bits, metrics, items, and what qualifies them.

    Args:
        rows: of a comparison.
        name: of what was evaluated on, such as the data set.
        bits: key of the bits: ``bits_per_second`` of audio, ``bits`` of an image.

    Returns:
        ``metrics`` maps a metric to its mean, or to None if it has none; ``intervals`` to the ends
        of the 95 % interval; ``failures`` to the number of items it failed on; ``absent`` to the
        reason why there is no mean; ``qualified``, if there are any, to what qualifies the mean.
        The facts of a row are further fields.
    """
    return [_record(row, name, bits) for row in rows]


def write_records(path: str | Path, content: Sequence[Mapping[str, Any]]) -> None:
    """Write JSON records; an old file is replaced when the new one is whole."""
    text = json.dumps(list(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(Path(path)) as part:
        part.write_text(text, encoding="utf-8")


def _record(row: Row, name: str, bits: str) -> dict[str, Any]:
    scores = row.scores.items()
    record = {
        "name": name,
        "system": row.system,
        bits: row.bits,
        "metrics": {metric: score.mean for metric, score in scores},
        "items": row.items,
        "intervals": {m: [s.low, s.high] for m, s in scores if s.low is not None},
        "failures": {m: s.failures for m, s in scores if s.failures},
        "absent": {m: s.reason for m, s in scores if s.mean is None},
    }
    sound = ((m, s) for m, s in scores if s.mean is not None and not s.failures)
    if qualified := {m: s.reason for m, s in sound if s.reason}:
        record["qualified"] = qualified
    if row.note:
        record["note"] = row.note
    return record | dict(row.facts)
