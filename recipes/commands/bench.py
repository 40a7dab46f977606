"""``intaglio bench``: our implementation and a named baseline in turn, in one process."""

import argparse
import importlib
import json
from pathlib import Path

SUBJECTS = ("codec", "image", "quantizer", "memory", "decode", "sampler")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.epilog = (
        "Compare numbers of one run with each other, not with those of other runs or machines.\n\n"
        "example:\n  intaglio bench quantizer --json quantizer.json"
    )
    parser.add_argument("subject", choices=SUBJECTS, help="what to measure")
    parser.add_argument(
        "modality",
        nargs="?",
        choices=("audio", "image"),
        help="of codec: audio (default) or image (the same as the subject image)",
    )
    parser.add_argument("--json", metavar="FILE", help="also write the records to this file")
    parser.add_argument("--tokens", type=int, help="of decode: tokens of each item (256)")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch (2)")


def run(args: argparse.Namespace) -> None:
    """Run a benchmark and print its table."""
    import torch
    from rich.console import Console
    from rich.table import Table

    from intaglio.data.formats.atomic import replacing

    if args.threads < 1:
        raise ValueError(f"--threads must be at least 1, got {args.threads}")
    if args.modality and args.subject != "codec":
        raise ValueError(f"only codec takes a modality, not {args.subject}")
    if args.tokens is not None and args.subject != "decode":
        raise ValueError(f"only decode takes --tokens, not {args.subject}")
    torch.set_num_threads(args.threads)
    subject = "image" if args.modality == "image" else args.subject
    module = importlib.import_module(f"intaglio.recipes.benchmarks.{subject}")
    results = module.run() if args.tokens is None else module.run(args.tokens)
    table = Table("what", "ours", "baseline", "ratio", "baseline is", "note")
    for result in results:
        times = [f"{value:.3g} {result.unit}" for value in (result.ours, result.baseline)]
        row = (*times, f"{result.speedup:.2f}", result.baseline_name, result.note)
        table.add_row(result.name, *row)
    Console().print(table)
    print("ratio: the baseline's time over ours; above 1, ours is faster")
    if args.json:
        with replacing(Path(args.json)) as part:
            part.write_text(json.dumps([result._asdict() for result in results], indent=2) + "\n")
