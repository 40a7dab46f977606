"""Image codecs and classic codecs in a table for a terminal and as JSON records."""

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from intaglio.codecs import Tokens
from intaglio.recipes.evaluation.image.comparison import ImageResult
from intaglio.recipes.evaluation.image.metrics import ImageMetric
from intaglio.recipes.evaluation.tables import NOTHING, cell, heading
from intaglio.recipes.evaluation.usage import reached, usage_of, usage_record


def image_table(results: Sequence[ImageResult], metrics: Sequence[ImageMetric]) -> Table:
    """Table for a terminal; below each mean the half width of its 95 % interval."""
    table = Table(box=SIMPLE, padding=(0, 1))
    table.add_column("system", no_wrap=True)
    for title in (
        *("bytes\nan image", "bits\na pixel", "tokens\nan image", "codes\nused"),
        *(escape(heading(m)).replace(" ", "\n") for m in metrics),
        "PSNR\nshuffled",
    ):
        table.add_column(title, justify="right", no_wrap=True)
    for row, _, tokens in results:
        sizes = [NOTHING] * 4
        if row.bits is not None and row.bits_per_pixel is not None:
            sizes[:2] = [f"{row.bits / 8:,.0f}", f"{row.bits_per_pixel:.3f}"]
        if tokens:
            sizes[2:] = [_shape(tokens[0]), f"{reached(usage_of(tokens)):.0%}"]
        cells = ["\n".join(cell(row, metric)) for metric in metrics]
        shuffled = NOTHING if row.shuffled is None else f"{row.shuffled:.2f}"
        table.add_row(row.system, *sizes, *cells, shuffled, style="bold" if row.is_ours else "")
    return table


def image_records(name: str, results: Sequence[ImageResult], size: int) -> list[dict[str, Any]]:
    """JSON records: name, system, bits (of an image), metrics, items, and what qualifies them."""
    found = []
    for row, _, tokens in results:
        scores = row.scores.items()
        record: dict[str, Any] = {
            "name": name,
            "system": row.system,
            "bits": row.bits,
            "bits_per_pixel": row.bits_per_pixel,
            "metrics": {metric: score.mean for metric, score in scores},
            "items": row.items,
            "size": size,
            "intervals": {m: [s.low, s.high] for m, s in scores if s.low is not None},
            "failures": {m: s.failures for m, s in scores if s.failures},
            "absent": {m: s.reason for m, s in scores if s.mean is None},
        }
        sound = ((m, s) for m, s in scores if s.mean is not None and not s.failures)
        if qualified := {m: s.reason for m, s in sound if s.reason}:
            record["qualified"] = qualified
        if row.note:
            record["note"] = row.note
        if row.shuffled is not None:
            record["shuffled_psnr"] = row.shuffled
        if tokens:
            record["tokens"] = usage_record(usage_of(tokens))
        found.append(record)
    return found


def _shape(tokens: Tokens) -> str:
    """Positions, and groups of each if there are several."""
    positions, groups = int(tokens.mask[0].sum()), tokens.ids.shape[2]
    return f"{positions}×{groups}" if groups > 1 else str(positions)
