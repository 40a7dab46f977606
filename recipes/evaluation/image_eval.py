"""An image codec on a data set: table, records and figures, as ``intaglio eval`` shows them."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tqdm import tqdm

from intaglio.codecs import ImageCodec
from intaglio.codecs.bundle import replacing
from intaglio.data.fitting import fitted
from intaglio.data.formats.image import read_image
from intaglio.data.manifest import Record
from intaglio.data.pictures import find_images
from intaglio.recipes.errors import explain
from intaglio.recipes.evaluation.image_baselines import ImageBaseline, image_baselines
from intaglio.recipes.evaluation.image_comparison import (
    ImageItem,
    ImageResult,
    ImageRow,
    compare_images,
)
from intaglio.recipes.evaluation.image_metrics import ImageMetric, select_image_metrics
from intaglio.recipes.evaluation.recordings import choose
from intaglio.recipes.evaluation.tables import NOTHING, cell, heading, notes, write_records
from intaglio.recipes.evaluation.usage import Usage, usage_lines, usage_of, usage_record

BASELINES = "jpeg,webp,avif"
SHOWN = 8  # pictures of a figure
MIN_WIDTH = 120


def run_images(args: argparse.Namespace, codec: ImageCodec) -> None:
    """Evaluate an image codec by the words of the command line.

    Raises:
        OSError: an input is missing, or an output cannot be written.
        ValueError: a wrong name, no images, or some of them damaged.
        ModuleNotFoundError: a figure needs matplotlib.
    """
    metrics = select_image_metrics(_names(args.metrics) if args.metrics else None)
    chosen = args.baselines if args.baselines is not None else BASELINES
    baselines = image_baselines([name for name in _names(chosen) if name != "none"])
    for option in ("suite", "rate", "save_audio"):
        if getattr(args, option):
            raise ValueError(
                f"--{option.replace('_', '-')} is for audio, {codec.name} is for images"
            )
    if len(args.data) > 1 or len(args.codec or ()) > 1:
        raise ValueError("of image codecs one is evaluated on one data set")
    size = args.size or codec.image_size
    if size != codec.image_size and not codec.any_size:
        raise ValueError(f"{codec.name} takes {codec.image_size} pixels, --size cannot be {size}")
    shares = (args.validation_share, args.test_share)
    folder, found = find_images(args.data[0])
    records = choose(found, args.split, shares=shares, seed=args.seed, limit=args.limit)
    items = read_pictures(folder, records, size)
    _report(args, codec, items, metrics, baselines)
    if len(items) < len(records):
        raise ValueError(
            f"{len(records) - len(items)} of {len(records)} images could not be read; the numbers "
            "leave them out"
        )


def read_pictures(folder: Path, chosen: Sequence[Record], size: int) -> list[ImageItem]:
    """Images cropped to squares; damaged ones are named on standard error and left out.

    Raises:
        ValueError: none can be read.
    """
    items = []
    for record in tqdm(chosen, desc="reading", unit="file", disable=None, leave=False):
        try:
            pixels = fitted(read_image(folder / record.path), size)
        except (ValueError, OSError) as error:
            tqdm.write(f"intaglio: skipped: {explain(error)}", file=sys.stderr)
            continue
        items.append(ImageItem(record.path, pixels))
    if not items:
        raise ValueError(f"none of {len(chosen)} images in {folder} can be read")
    return items


def image_table(rows: Sequence[ImageRow], metrics: Sequence[ImageMetric]) -> Table:
    """Table for a terminal; below each mean the half width of its 95 % interval."""
    table = Table(box=SIMPLE, padding=(0, 1))
    table.add_column("system", no_wrap=True)
    for title in (
        "bytes\nan image",
        "bits\na pixel",
        *(escape(heading(m)).replace(" ", "\n") for m in metrics),
    ):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        sizes = [NOTHING, NOTHING]
        if row.bits is not None and row.bits_per_pixel is not None:
            sizes = [f"{row.bits / 8:,.0f}", f"{row.bits_per_pixel:.3f}"]
        cells = ["\n".join(cell(row, metric)) for metric in metrics]
        table.add_row(row.system, *sizes, *cells, style="bold" if row.is_ours else "")
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
        if row.note:
            record["note"] = row.note
        if tokens:
            record["tokens"] = usage_record(usage_of(tokens))
        found.append(record)
    return found


def _report(
    args: argparse.Namespace,
    codec: ImageCodec,
    items: Sequence[ImageItem],
    metrics: Sequence[ImageMetric],
    baselines: Sequence[ImageBaseline],
) -> None:
    size = items[0].pixels.shape[1]
    results = list(
        compare_images(
            codec, items, metrics=metrics, baselines=baselines, seed=args.seed, progress=True
        )
    )
    rows = [result.row for result in results]
    print(
        f"{len(items)} images of {args.data[0]} ({args.split}), cropped to {size} x {size} pixels"
    )
    console = Console()
    console.width = max(console.width if console.is_terminal else MIN_WIDTH, MIN_WIDTH)
    console.print(image_table(rows, metrics))
    groups = usage_of(results[0].tokens)
    for line in (*notes(rows, metrics), *usage_lines(groups)):
        print(line)
    positions = results[0].tokens[0].ids.shape[1]
    carried = positions * math.fsum(group.entropy for group in groups)
    print(f"bits of an image: {rows[0].bits:.0f} nominal, {carried:.0f} by the entropies")
    if args.json:
        write_records(args.json, image_records(args.data[0], results, size))
    _figures(args, items, results, groups)


def _figures(
    args: argparse.Namespace,
    items: Sequence[ImageItem],
    results: Sequence[ImageResult],
    groups: Sequence[Usage],
) -> None:
    from intaglio.recipes.evaluation.image_plots import picture_grid, rate_curves
    from intaglio.recipes.evaluation.plots import code_usage

    if args.plot:
        _write(Path(args.plot), rate_curves([result.row for result in results]))
    if not args.figures:
        return
    folder = Path(args.figures)
    folder.mkdir(parents=True, exist_ok=True)
    places = range(0, len(items), max(1, len(items) // SHOWN))[:SHOWN]
    originals = [items[place].pixels for place in places]
    ours = [result for result in results if result.row.is_ours]
    shown = [ours[0], *(one for one in results if one.row.system.endswith("-matched"))]
    rows = [[one.decoded[place] for place in places] for one in shown]
    _write(folder / "reconstructions.png", picture_grid([originals, *rows]))
    _write(folder / "usage.png", code_usage(groups))
    if len(ours) > 1:
        strips = [[one.decoded[place] for place in places] for one in reversed(ours)]
        _write(folder / "prefixes.png", picture_grid([*strips, originals]))


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as part:
        part.write_bytes(content)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
