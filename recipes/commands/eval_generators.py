"""``intaglio eval generator``: generators on held-out tokens, next to tables of counts."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from rich.box import SIMPLE
from rich.table import Table

from intaglio.data.formats.atomic import replacing
from intaglio.data.formats.printable import counted
from intaglio.data.tokens import TokenShards
from intaglio.generators import Generator, load
from intaglio.recipes.commands.options.codec import (
    add_codec_options,
    default_source,
    load_image_codec,
)
from intaglio.recipes.commands.options.evaluation import (
    add_evaluation_options,
    check_folders,
)
from intaglio.recipes.commands.options.sampler import add_sampler_options, sampler_of, sampling
from intaglio.recipes.commands.options.words import SEED, whole
from intaglio.recipes.errors import WrongUsage
from intaglio.recipes.evaluation.figures.canvas import check_installed
from intaglio.recipes.evaluation.generators.comparison import control_rows, evaluate_generator
from intaglio.recipes.evaluation.generators.evaluator import GeneratorEvaluator, Samples
from intaglio.recipes.evaluation.generators.features import NETWORKS, feature_extractor
from intaglio.recipes.evaluation.generators.tokens import check_fits
from intaglio.recipes.evaluation.items import by_name, evenly_spaced
from intaglio.recipes.evaluation.rows import Row
from intaglio.recipes.evaluation.tables import (
    notes,
    print_table,
    records,
    terminal_table,
    write_records,
)

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
        "generators", nargs="+", metavar="GENERATOR", help="bundle, training checkpoint, or emoji"
    )
    add_codec_options(parser)
    add_evaluation_options(
        parser,
        data="folder of token shards",
        limit="at most so many training items for probes and distances, evenly spread",
        sides=("test", "validation"),
        side="test",
    )
    parser.add_argument("--items", type=whole(2), help="images to draw (as many as are held out)")
    parser.add_argument("--sample-seed", type=SEED, default=0, help="seed of the first image (0)")
    add_sampler_options(parser)
    parser.add_argument(
        "--features",
        choices=NETWORKS,
        default=NETWORKS[0],
        help=f"network whose features probes and distances use ({NETWORKS[0]}); inception takes "
        "--inception",
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
    check_installed(args.plot)
    if args.limit == 1:
        raise WrongUsage("--limit is at least 2 here")
    options = sampling(args)
    codec = load_image_codec(args.codec or default_source(args.generators[0]), args.device)
    sampler = sampler_of(options, codec=codec)
    device = next(codec.parameters()).device
    extractor = feature_extractor(args.features, inception_file=args.inception, device=device)
    generators = by_name([load_generator(source, device) for source in args.generators])
    data = token_set(args)
    for generator in generators.values():
        check_fits(generator, codec, data)
    evaluator = GeneratorEvaluator(
        codec, data, extractor, split=args.split, items=args.items, limit=args.limit, seed=args.seed
    )
    settings = {"items": args.items, "sample_seed": args.sample_seed, "features": args.features}
    rows: list[Row] = []
    drawn: dict[str, Samples] = {}
    for name, generator in generators.items():
        row, drawn[name] = evaluate_generator(
            evaluator, name, generator, sampler, seed=args.sample_seed
        )
        rows.append(row._replace(facts={**row.facts, "sampling": settings | options}))
    rows += control_rows(evaluator)
    _print(args, evaluator, rows)
    if args.json:
        write_records(args.json, records(rows, args.data, bits="bits"))
    if args.plot:
        _plot(Path(args.plot), evaluator, drawn, data.classes)


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


def section_table(rows: Sequence[Row]) -> Table:
    """Nats per token of sections of the tokens: scales, or first, second, third and fourth…"""
    measured = [row for row in rows if row.facts.get("sections")]
    table = Table(box=SIMPLE, padding=(0, 1), title="nats per token, by positions")
    table.add_column("system", no_wrap=True)
    for part in measured[0].facts["sections"]:
        table.add_column(f"{part['from'] + 1}–{part['to']}", justify="right", no_wrap=True)
    for row in measured:
        cells = [f"{part['nll']:.3f}" for part in row.facts["sections"]]
        table.add_row(row.system, *cells, style="bold" if row.is_ours else "")
    return table


def remarks(evaluator: GeneratorEvaluator) -> list[str]:
    """Below the table: what chance reaches, and what a near copy is."""
    lines = []
    if evaluator.class_probe:
        labels = evaluator.held.labels[evaluator.held.labels >= 0]
        share = float(labels.bincount().max()) / len(labels) if len(labels) else 0.0
        lines.append(f"class: always the most frequent one would be {share:.3f}")
    if evaluator.caption_probe:
        lines.append(f"caption: chance is {1 / evaluator.candidates:.3f}")
    lines.append(
        f"near copies: as near to a training item as 1 % of those are to another "
        f"({evaluator.neighbours.threshold:.4g})"
    )
    return lines


def _print(args: argparse.Namespace, evaluator: GeneratorEvaluator, rows: Sequence[Row]) -> None:
    print(
        f"{counted(evaluator.held.items, 'item')} of {args.data} ({args.split}), "
        f"{counted(len(evaluator.condition_items), 'image')} drawn, "
        f"{counted(evaluator.train.items, 'training item')}, "
        f"features of {evaluator.extractor.label}"
    )
    metrics = evaluator.columns()
    print_table(terminal_table(rows, metrics, bits="bits\nan image"))
    if any(row.facts.get("sections") for row in rows):
        print_table(section_table(rows))
    print("\n".join([*remarks(evaluator), *notes(rows, metrics)]))


def _plot(
    folder: Path,
    evaluator: GeneratorEvaluator,
    drawn: Mapping[str, Samples],
    classes: Sequence[str],
) -> None:
    from intaglio.recipes.evaluation.figures.samples import Shown, sample_figure

    folder.mkdir(parents=True, exist_ok=True)
    held, items = evaluator.held, evaluator.condition_items
    chosen = evenly_spaced(len(items), SHOWN)
    for name, samples in drawn.items():
        _, nearest = evaluator.neighbours.nearest(samples.features[chosen])
        shown = []
        for number, near in zip(chosen, nearest.tolist(), strict=True):
            item = items[number]
            label = int(held.labels[item])
            caption = held.captions[item] or (classes[label] if label >= 0 else "")
            pictures = (samples.pictures[number], evaluator.real_held.pictures[item])
            shown.append(Shown(caption, *pictures, evaluator.real_train.pictures[near]))
        path = folder / f"{name}-samples.png"
        with replacing(path) as part:
            part.write_bytes(sample_figure(shown))
        print(f"{path}: drawn, held out with the same caption, nearest in training")
