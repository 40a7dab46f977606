"""``intaglio bench``: our implementation and a named baseline in turn, in one process."""

import argparse
import importlib
import json
from pathlib import Path

from intaglio.recipes.commands.options.evaluation import check_folders
from intaglio.recipes.commands.options.words import whole
from intaglio.recipes.errors import WrongUsage

SUBJECTS = (
    "codec",
    "image",
    "quantizer",
    "memory",
    "decode",
    "sampler",
    "head",
    "refinement",
    "stream",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.epilog = (
        "Compare numbers of one run with each other, not with those of other runs or machines.\n\n"
        "examples:\n  intaglio bench quantizer --json quantizer.json\n"
        "  intaglio bench sampler --plot rules.png"
    )
    parser.add_argument("subject", choices=SUBJECTS, help="what to measure")
    parser.add_argument(
        "modality",
        nargs="?",
        choices=("audio", "image"),
        help="of codec: audio (default) or image (the same as the subject image)",
    )
    parser.add_argument("--json", metavar="FILE", help="also write the records to this file")
    parser.add_argument(
        "--plot",
        metavar="FILE",
        help="of sampler: measure what each acceptance rule gains and costs instead, and draw it",
    )
    parser.add_argument("--tokens", type=whole(1), help="of decode: tokens of each item (256)")
    parser.add_argument("--threads", type=whole(1), default=2, help="threads of PyTorch (2)")


def run(args: argparse.Namespace) -> None:
    """Run a benchmark and print its table."""
    import torch
    from rich.console import Console
    from rich.table import Table

    from intaglio.data.formats.atomic import replacing

    if args.modality and args.subject != "codec":
        raise WrongUsage(f"only codec takes a modality, not {args.subject}")
    if args.tokens is not None and args.subject != "decode":
        raise WrongUsage(f"only decode takes --tokens, not {args.subject}")
    if args.plot is not None and args.subject != "sampler":
        raise WrongUsage(f"only sampler takes --plot, not {args.subject}")
    check_folders(args.json, args.plot)
    torch.set_num_threads(args.threads)
    if args.plot is not None:
        _plot_rules(Path(args.plot), args.json)
        return
    subject = "image" if args.modality == "image" else args.subject
    module = importlib.import_module(f"intaglio.recipes.benchmarks.{subject}")
    results = module.run() if args.tokens is None else module.run(args.tokens)
    table = Table("what", "ours", "baseline", "ratio", "baseline is", "note")
    for result in results:
        times = [f"{value:.3g} {result.unit}" for value in (result.ours, result.baseline)]
        row = (*times, f"{result.speedup:.2f}", result.baseline_name, result.note)
        table.add_row(result.name, *row)
    Console().print(table)
    what, better = ("distance", "nearer") if subject == "refinement" else ("time", "faster")
    print(f"ratio: the baseline's {what} over ours; above 1, ours is {better}")
    if args.json:
        with replacing(Path(args.json)) as part:
            part.write_text(json.dumps([result._asdict() for result in results], indent=2) + "\n")


def _plot_rules(path: Path, json_path: str | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from intaglio.data.formats.atomic import replacing
    from intaglio.recipes.benchmarks import sampler_rules
    from intaglio.recipes.evaluation.figures.canvas import check_installed

    check_installed(str(path))
    found = sampler_rules.run()
    table = Table("family", "rule", "tokens a pass", "TV", "Fréchet")
    table.columns[1].overflow = "fold"
    for one in found:
        numbers = (f"{one.tokens_per_pass:.2f}", f"{one.excess:.3f}", f"{one.distance:.1f}")
        table.add_row(one.family, one.rule, *numbers)
    Console().print(table)
    print("TV: total variation of a token from plain sampling, on average, or a bound of it")
    print("Fréchet: distance of the images from others of plain sampling")
    with replacing(path) as part:
        part.write_bytes(sampler_rules.figure(found))
    if json_path:
        with replacing(Path(json_path)) as part:
            part.write_text(json.dumps([one._asdict() for one in found], indent=2) + "\n")
