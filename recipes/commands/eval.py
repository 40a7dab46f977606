"""``intaglio eval``: quality of a codec on recordings, beside classic codecs."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from tqdm import tqdm

from intaglio.codecs import AudioCodec
from intaglio.codecs.bundle import replacing
from intaglio.data.clips import find
from intaglio.data.formats.wave import read_wave, write_wave
from intaglio.data.manifest import Record, source_key, split_of
from intaglio.recipes.codec_option import add_codec_options, chosen_codec
from intaglio.recipes.errors import explain
from intaglio.recipes.evaluation.baselines import baseline
from intaglio.recipes.evaluation.comparison import Comparison, Item, evaluate_codec
from intaglio.recipes.evaluation.metrics import select
from intaglio.recipes.evaluation.tables import notes, records, terminal_table, write_records
from intaglio.recipes.evaluation.usage import entropy_rate, usage_of

MIN_WIDTH = 120  # columns of a table that does not go to a terminal
EPILOG = """\
examples:
  intaglio eval --codec demo/codec --data recordings/
  intaglio eval --codec demo/codec --data speech-prompts --split test --json eval.json

Metrics whose package is missing and baselines whose program is missing say so in the table.
Damaged recordings are skipped, named, and make the exit status 1.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.epilog = EPILOG
    add_codec_options(parser)
    parser.add_argument(
        "--data", required=True, help="folder, manifest or name of a fetched set (intaglio data)"
    )
    parser.add_argument("--limit", type=int, help="at most so many recordings, evenly spread")
    parser.add_argument(
        "--split",
        choices=("test", "validation", "all"),
        default="all",
        help="recordings that training on the same data left out, or all",
    )
    parser.add_argument("--validation-share", type=float, default=0.05, help="as in training")
    parser.add_argument("--test-share", type=float, default=0.05, help="as in training")
    parser.add_argument("--seed", type=int, default=0, help="of the split and the intervals")
    known = ",".join(metric.name for metric in select())
    parser.add_argument("--metrics", metavar="NAMES", default=known, help="default: %(default)s")
    parser.add_argument(
        "--baselines",
        metavar="NAMES",
        default="opus-6k,codec2-1200",
        help="classic codecs: opus-6k, opus-12k…, codec2-1200, -1300, -2400, -3200, or none",
    )
    parser.add_argument("--json", metavar="FILE", help="write one record a system")
    parser.add_argument("--plot", metavar="FILE", help="draw STOI and WER over bit rate, as PNG")
    parser.add_argument("--save-audio", metavar="FOLDER", help="write every decoded recording")


def run(args: argparse.Namespace) -> None:
    """Evaluate and print the table.

    Raises:
        OSError: an input is missing, or an output cannot be written.
        ValueError: a wrong name, a damaged codec, or no recordings.
        ModuleNotFoundError: the plot needs matplotlib.
    """
    metrics = select(_names(args.metrics))
    baselines = [baseline(name) for name in _names(args.baselines) if name != "none"]
    for name in (args.json, args.plot):
        if name and not Path(name).absolute().parent.is_dir():
            raise FileNotFoundError(f"{name}: there is no folder {Path(name).parent}")
    codec = chosen_codec(args)
    shares = (args.validation_share, args.test_share)
    folder, found = find(args.data)
    chosen = choose(found, args.split, shares=shares, seed=args.seed, limit=args.limit)
    items = read_items(folder, chosen, codec.sample_rate)
    comparison = evaluate_codec(
        codec, items, metrics=metrics, baselines=baselines, seed=args.seed, progress=True
    )
    console = Console()
    console.width = console.width if console.is_terminal else max(MIN_WIDTH, console.width)
    seconds = sum(len(item.wave) for item in items) / codec.sample_rate
    print(f"{len(items)} recordings, {seconds:.0f} s, of {args.data} ({args.split})")
    console.print(terminal_table(comparison.rows, metrics))
    for line in (*notes(comparison.rows, metrics), *_token_lines(codec, comparison)):
        print(line)
    if args.json:
        write_records(args.json, _records(args.data, codec, comparison))
    if args.plot:
        from intaglio.recipes.evaluation.plots import rate_distortion

        with replacing(Path(args.plot)) as part:
            part.write_bytes(rate_distortion(comparison.rows))
    if args.save_audio:
        save_audio(Path(args.save_audio), items, comparison, codec.sample_rate)
    if len(items) < len(chosen):
        raise ValueError(
            f"{len(chosen) - len(items)} of {len(chosen)} recordings could not be read; the "
            "numbers leave them out"
        )


def choose(
    found: Sequence[Record],
    side: str,
    *,
    shares: tuple[float, float],
    seed: int = 0,
    limit: int | None = None,
) -> list[Record]:
    """Records to evaluate on.

    Args:
        found: all records of a data set, sorted.
        side: "test", "validation" or "all".
        shares: of validation and test in the split.
        seed: of the split.
        limit: at most so many, evenly spread over the data set; all of them if None.

    Raises:
        ValueError: none is left, or a limit below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"--limit must be at least 1, got {limit}")
    chosen = [
        record
        for record in found
        if side == "all" or split_of(source_key(record), shares, seed) == side
    ]
    if not chosen:
        raise ValueError(
            f"none of {len(found)} recordings falls into the {side} split; use --split all"
        )
    count = min(limit or len(chosen), len(chosen))
    return [chosen[number * len(chosen) // count] for number in range(count)]


def read_items(folder: Path, chosen: Sequence[Record], sample_rate: int) -> list[Item]:
    """Recordings, mono, at a sample rate; damaged ones are named on standard error and left out.

    Raises:
        ValueError: none can be read.
    """
    items = []
    for record in tqdm(chosen, desc="reading", unit="file", disable=None, leave=False):
        try:
            wave, _ = read_wave(folder / record.path, sample_rate)
        except (ValueError, OSError) as error:
            tqdm.write(f"intaglio: skipped: {explain(error)}", file=sys.stderr)
            continue
        items.append(Item(record.path, wave[0], record.text))
    if not items:
        raise ValueError(f"none of {len(chosen)} recordings in {folder} can be read")
    return items


def save_audio(folder: Path, items: Sequence[Item], comparison: Comparison, rate: int) -> None:
    """Write every decoded recording as ``folder/system/name.wav``."""
    for system, waves in comparison.decoded.items():
        for number, (item, wave) in enumerate(zip(items, waves, strict=True)):
            path = Path(item.name)
            if path.is_absolute() or ".." in path.parts:  # it would leave the folder
                path = Path(f"{number:05d}-{path.name}")
            name = path if path.suffix == ".wav" else f"{path}.wav"
            target = folder / system.replace("/", "-") / name
            target.parent.mkdir(parents=True, exist_ok=True)
            write_wave(target, wave, rate)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _token_lines(codec: AudioCodec, comparison: Comparison) -> list[str]:
    groups = usage_of(comparison.tokens)
    lines = [
        f"codebook {number}: {int((group.counts > 0).sum())} of {len(group.counts)} codes used "
        f"({group.share:.1%}), perplexity {group.perplexity:.0f}, entropy {group.entropy:.2f} bits"
        for number, group in enumerate(groups, start=1)
    ]
    rate = entropy_rate(groups, codec.frame_rate)
    return [*lines, f"bit rate: {codec.bits_per_second:.0f} nominal, {rate:.0f} by the entropies"]


def _records(name: str, codec: AudioCodec, comparison: Comparison) -> list[dict[str, Any]]:
    """JSON records, with the use of the codebooks in the one of the codec under test."""
    groups = usage_of(comparison.tokens)
    tokens = {
        "codes_used": [group.share for group in groups],
        "perplexity": [group.perplexity for group in groups],
        "entropy_bits": [group.entropy for group in groups],
        "entropy_bits_per_second": entropy_rate(groups, codec.frame_rate),
        "nominal_bits_per_second": codec.bits_per_second,
    }
    return [
        record | ({"tokens": tokens} if row.is_ours else {})
        for record, row in zip(records(comparison.rows, name), comparison.rows, strict=True)
    ]
