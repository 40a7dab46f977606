"""``intaglio eval generator``: generators on held-out tokens, next to tables of counts."""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from intaglio.codecs.bundle import replacing
from intaglio.data.tokens import TokenShards
from intaglio.generators import Generator, load
from intaglio.recipes.commands.options.codec import (
    add_codec_options,
    default_source,
    load_image_codec,
)
from intaglio.recipes.commands.options.evaluation import add_evaluation_options, check_folders
from intaglio.recipes.commands.options.sampler import add_sampler_options, sampler_of, sampling
from intaglio.recipes.evaluation.generators.comparison import (
    GeneratorRow,
    control_rows,
    generator_row,
)
from intaglio.recipes.evaluation.generators.features import NETWORKS, feature_network
from intaglio.recipes.evaluation.generators.measure import Bench, Drawn
from intaglio.recipes.evaluation.generators.tokens import check_fits
from intaglio.recipes.evaluation.scores import Metric
from intaglio.recipes.evaluation.tables import NOTHING, cell, heading, print_table, write_records

ABOUT = "measure how well generators predict held-out tokens, and the images they draw"
SHOWN = 16  # pictures of a figure
EXAMPLES = """\
  intaglio eval generator GENERATOR --codec CODEC --data TOKENS --guidance 2 --json eval.json
  intaglio eval generator RUN OTHER --codec CODEC --data TOKENS --items 500 --plot figures/"""
EPILOG = f"""\
examples:
{EXAMPLES}

A generator is measured on the tokens that its training left out (--split test, with the shares and
the seed of that training): nats per token, next to tables of counts, and images drawn with the
conditions of those items, scored by linear probes trained on real images, next to real images.
Several generators over the same tokens make several rows.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.epilog = EPILOG
    parser.add_argument(
        "generators", nargs="+", metavar="GENERATOR", help="bundle or training checkpoint"
    )
    add_codec_options(parser)
    add_evaluation_options(
        parser,
        data="folder of token shards",
        limit="at most so many training items for probes and distances, evenly spread",
        sides=("test", "validation"),
        side="test",
    )
    parser.add_argument("--items", type=int, help="images to draw (as many as are held out)")
    parser.add_argument("--sample-seed", type=int, default=0, help="of the first image (0)")
    add_sampler_options(parser)
    parser.add_argument(
        "--features",
        choices=NETWORKS,
        default=NETWORKS[0],
        help=f"what probes and distances see ({NETWORKS[0]}); inception takes --inception",
    )
    parser.add_argument("--inception", metavar="FILE", help="weights for the features of inception")
    parser.add_argument("--plot", metavar="FOLDER", help="draw samples next to real images, as PNG")


def run(args: argparse.Namespace) -> None:
    """Evaluate and print the table.

    Raises:
        OSError: an input is missing, or an output cannot be written.
        ValueError: an option is wrong, or generators, codec and tokens do not fit together.
        ModuleNotFoundError: the package of the features or of the figures is not installed.
    """
    check_folders(args.json, args.plot)
    for option in ("items", "limit"):
        if getattr(args, option) is not None and getattr(args, option) < 2:
            raise ValueError(f"--{option} must be at least 2, got {getattr(args, option)}")
    options = sampling(args)
    sampler = sampler_of(options)
    codec = load_image_codec(args.codec or default_source(), args.device)
    device = next(codec.parameters()).device
    network = feature_network(args.features, inception_file=args.inception, device=device)
    generators = named([load_generator(source, device) for source in args.generators])
    data = token_set(args)
    for generator in generators.values():
        check_fits(generator, codec, data)
    bench = Bench(
        codec, data, network, split=args.split, items=args.items, limit=args.limit, seed=args.seed
    )
    rows: list[GeneratorRow] = []
    drawn: dict[str, Drawn] = {}
    for name, generator in generators.items():
        row, drawn[name] = generator_row(bench, name, generator, sampler, seed=args.sample_seed)
        rows.append(row)
    rows += control_rows(bench)
    _tell(args.data, args.split, bench, rows)
    if args.json:
        settings = {"items": args.items, "sample_seed": args.sample_seed, "features": args.features}
        write_records(args.json, generator_records(args.data, rows, options | settings))
    if args.plot:
        _plot(Path(args.plot), bench, drawn, data.classes)


def load_generator(source: str, device: torch.device) -> Generator:
    """A generator by its bundle or checkpoint, on a device.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: it is damaged, or something else, such as a codec.
    """
    try:
        return load(source).to(device)
    except ValueError as error:
        raise ValueError(f"{error}; a codec is given with --codec") from error


def named(generators: Sequence[Generator]) -> dict[str, Generator]:
    """Generators by name; the second of the same name is ``NAME#2``."""
    found: dict[str, Generator] = {}
    names: Counter[str] = Counter()
    for generator in generators:
        names[generator.name] += 1
        count = names[generator.name]
        found[generator.name if count == 1 else f"{generator.name}#{count}"] = generator
    return found


def token_set(args: argparse.Namespace) -> TokenShards:
    """The tokens, split as in a training with the same shares and seed."""
    data = TokenShards(
        args.data,
        validation_share=args.validation_share,
        test_share=args.test_share,
        seed=args.seed,
    )
    data.setup()
    return data


def generator_table(rows: Sequence[GeneratorRow], metrics: Sequence[Metric]) -> Table:
    """Table for a terminal; below each mean the half width of its 95 % interval."""
    table = Table(box=SIMPLE, padding=(0, 1))
    table.add_column("system", no_wrap=True)
    for title in ("bits\nan image", *(_title(metric) for metric in metrics)):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        cells = []
        for metric in metrics:
            mean, width = cell(row, metric)
            mark = "≤ " if row.is_bound and metric.name.startswith(("nll", "bits")) else ""
            cells.append("\n".join((NOTHING if mean == "absent" else mark + mean, width)))
        bits = NOTHING if row.bits is None else f"{row.bits:,.0f}"
        table.add_row(row.system, bits, *cells, style="bold" if row.is_ours else "")
    return table


def section_table(rows: Sequence[GeneratorRow]) -> Table:
    """Nats per token of parts of the tokens: scales, or first, second, third and fourth…"""
    told = [row for row in rows if row.facts.get("sections")]
    table = Table(box=SIMPLE, padding=(0, 1), title="nats per token, by positions")
    table.add_column("system", no_wrap=True)
    for part in told[0].facts["sections"]:
        table.add_column(f"{part['from'] + 1}–{part['to']}", justify="right", no_wrap=True)
    for row in told:
        cells = [f"{part['nll']:.3f}" for part in row.facts["sections"]]
        table.add_row(row.system, *cells, style="bold" if row.is_ours else "")
    return table


def generator_records(
    name: str, rows: Sequence[GeneratorRow], sampling: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """JSON records: name, system, bits (of an image), metrics, items, and what qualifies them."""
    found = []
    for row in rows:
        scores = row.scores.items()
        record: dict[str, Any] = {
            "name": name,
            "system": row.system,
            "bits": row.bits,
            "metrics": {metric: score.mean for metric, score in scores},
            "items": row.items,
            "intervals": {m: [s.low, s.high] for m, s in scores if s.low is not None},
            "absent": {m: s.reason for m, s in scores if s.mean is None},
            **row.facts,
        }
        if qualified := {m: s.reason for m, s in scores if s.mean is not None and s.reason}:
            record["qualified"] = qualified
        if row.is_ours:
            record["sampling"] = dict(sampling)
        found.append(record)
    return found


def remarks(bench: Bench, rows: Sequence[GeneratorRow]) -> list[str]:
    """Below the table: what chance reaches, and what is absent or a bound."""
    lines = []
    if bench.class_judge:
        labels = bench.held.labels[bench.held.labels >= 0]
        share = float(labels.bincount().max()) / len(labels) if len(labels) else 0.0
        lines.append(f"class: always the most frequent one would be {share:.3f}")
    if bench.caption_judge:
        lines.append(f"caption: chance is {1 / bench.candidates:.3f}")
    lines.append(
        f"near copies: as near to a training item as 1 % of those are to another "
        f"({bench.neighbours.threshold:.4g})"
    )
    for row in rows:
        reasons = {score.reason: name for name, score in reversed(row.scores.items())}
        lines += [f"{name} of {row.system}: {why}" for why, name in reasons.items() if why]
    return lines


def _title(metric: Metric) -> str:
    return escape(heading(metric)).replace(" ", "\n").replace(",", ",\n")


def _tell(name: str, split: str, bench: Bench, rows: Sequence[GeneratorRow]) -> None:
    print(
        f"{bench.held.items} items of {name} ({split}), {len(bench.places)} images drawn, "
        f"{bench.train.items} training items, features of {bench.network.label}"
    )
    print_table(generator_table(rows, bench.columns()))
    if any(row.facts.get("sections") for row in rows):
        print_table(section_table(rows))
    print("\n".join(remarks(bench, rows)))


def _plot(folder: Path, bench: Bench, drawn: Mapping[str, Drawn], classes: Sequence[str]) -> None:
    from intaglio.recipes.evaluation.figures.samples import Shown, sample_figure

    folder.mkdir(parents=True, exist_ok=True)
    count = len(bench.places)
    chosen = [number * count // min(SHOWN, count) for number in range(min(SHOWN, count))]
    for name, made in drawn.items():
        _, nearest = bench.neighbours.nearest(made.features[chosen])
        shown = []
        for number, near in zip(chosen, nearest.tolist(), strict=True):
            place = bench.places[number]
            label = int(bench.held.labels[place])
            told = bench.held.captions[place] or (classes[label] if label >= 0 else "")
            pictures = (made.pictures[number], bench.truth.pictures[place])
            shown.append(Shown(told, *pictures, bench.reals.pictures[near]))
        path = folder / f"{name}-samples.png"
        with replacing(path) as part:
            part.write_bytes(sample_figure(shown))
        print(f"{path}: drawn, held out of the same caption, nearest in training")
