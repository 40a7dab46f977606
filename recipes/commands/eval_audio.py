"""``intaglio eval audio``: quality of audio codecs on recordings, next to classic codecs."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from intaglio.codecs import AudioCodec
from intaglio.data.clips import find
from intaglio.data.formats.atomic import replacing
from intaglio.data.formats.printable import counted
from intaglio.data.manifest import Record
from intaglio.recipes.commands.options.codec import add_codec_options, default_source, load_codec
from intaglio.recipes.commands.options.evaluation import (
    add_evaluation_options,
    check_folders,
)
from intaglio.recipes.commands.options.words import names, whole
from intaglio.recipes.errors import WrongUsage
from intaglio.recipes.evaluation.audio import suite
from intaglio.recipes.evaluation.audio.baselines import Baseline, baseline
from intaglio.recipes.evaluation.audio.comparison import (
    Comparison,
    OperatingPoint,
    audio_systems,
    evaluate_codec,
)
from intaglio.recipes.evaluation.audio.metrics import select
from intaglio.recipes.evaluation.audio.operating_points import points as points_of
from intaglio.recipes.evaluation.audio.recordings import (
    duration,
    file_name,
    read_recordings,
    save_audio,
)
from intaglio.recipes.evaluation.comparison import evaluate
from intaglio.recipes.evaluation.figures.canvas import check_installed
from intaglio.recipes.evaluation.items import Item, choose
from intaglio.recipes.evaluation.probing.probing import PROBES, STEPS, Probing, columns_of
from intaglio.recipes.evaluation.rows import Row
from intaglio.recipes.evaluation.scores import Metric
from intaglio.recipes.evaluation.tables import (
    notes,
    print_table,
    records,
    terminal_table,
    write_records,
)
from intaglio.recipes.evaluation.usage import (
    entropy_rate,
    usage_lines,
    usage_of,
    usage_record,
)

ABOUT = "measure the quality of audio codecs on recordings, next to classic codecs"
BASELINES = "opus-6k,codec2-1200"
DEFAULT_PROBES = ("speaker", "words")
EXAMPLES = f"""\
  intaglio eval audio --codec demo/codec --data recordings/
  intaglio eval audio --codec demo/codec --data speech-prompts --split test --json eval.json
  intaglio eval audio --suite {suite.NAME} --codec demo/codec --codec encodec@3000,6000 \\
    --data speech-prompts --json suite.json"""
EPILOG = f"""\
examples:
{EXAMPLES}

With --suite, --codec and --data may be repeated, and a codec may be followed by @ and bit rates
(bits per second): for each, as many of its levels are used as fit; or by L and a number of levels,
such as @L1 for the first codebook alone. Without @, all are used.

The table marks metrics whose package is missing and baselines whose program is missing.
Damaged files are skipped, named, and make the exit status 1.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.epilog = EPILOG
    add_codec_options(parser, several=True)
    add_evaluation_options(
        parser,
        data="folder, manifest or name of a fetched set (intaglio data)",
        limit="at most so many recordings, evenly spread",
        several=True,
    )
    parser.add_argument(
        "--suite",
        choices=(suite.NAME,),
        help="several codecs and bit rates side by side, with the use of their tokens; see below",
    )
    known = ",".join(metric.name for metric in select())
    parser.add_argument(
        "--metrics",
        type=names,
        metavar="NAMES",
        help=f"default: {known}; of a suite {','.join(suite.METRICS)}",
    )
    parser.add_argument(
        "--rate",
        type=whole(1),
        metavar="HZ",
        help="sample rate at which mel distance and SI-SDR compare (the codec's; "
        f"of a suite {suite.RATE})",
    )
    parser.add_argument(
        "--baselines",
        type=names,
        metavar="NAMES",
        default=BASELINES,
        help="classic codecs: opus-6k, opus-12k…, codec2-1200, -1300, -2400, -3200, or none "
        f"({BASELINES})",
    )
    parser.add_argument(
        "--probes",
        type=names,
        metavar="NAMES",
        help=f"of a suite, what is predicted from tokens: {', '.join(PROBES)} (a language model "
        f"that is trained on them), or none ({','.join(DEFAULT_PROBES)})",
    )
    parser.add_argument(
        "--lm-steps",
        type=whole(1),
        default=STEPS,
        metavar="N",
        help=f"of the training of the language model of each row ({STEPS})",
    )
    parser.add_argument("--plot", metavar="FILE", help="draw quality over bit rate, as PNG")
    parser.add_argument("--save-audio", metavar="FOLDER", help="write every decoded recording")


def run(args: argparse.Namespace) -> None:
    """Evaluate and print the table.

    Raises:
        OSError: an input is missing, or an output cannot be written.
        ValueError: a wrong name, a damaged codec, or no recordings.
        ModuleNotFoundError: the plot needs matplotlib.
    """
    check_folders(args.json, args.plot)
    check_installed(args.plot)
    sources = args.codec or [default_source()]
    codec = None if args.suite else load_codec(sources[0], args.device)
    metrics = _metrics(args)
    baselines = [baseline(name) for name in args.baselines if name != "none"]
    chosen = {name: _chosen(args, name) for name in args.data}
    if args.suite:
        points = points_of(sources, lambda source: load_codec(source, args.device))
        read = _run_suite(args, points, chosen, metrics, baselines)
    elif codec is None or len(sources) > 1 or len(args.data) > 1:
        raise WrongUsage(f"several codecs or data sets are compared with --suite {suite.NAME}")
    elif args.probes:
        raise WrongUsage(f"--probes are a part of --suite {suite.NAME}")
    else:
        read = _run_single(args, codec, chosen, metrics, baselines)
    count = sum(len(records) for _, records in chosen.values())
    if read < count:
        raise ValueError(
            f"{count - read} of {counted(count, 'recording')} could not be read; the numbers leave "
            "them out"
        )


Chosen = dict[str, tuple[Path, list[Record]]]  # folder and recordings by name of the data set


def _run_single(
    args: argparse.Namespace,
    codec: AudioCodec,
    chosen: Chosen,
    metrics: Sequence[Metric],
    baselines: Sequence[Baseline],
) -> int:
    """One codec on one data set; gives the number of recordings that could be read."""
    ((name, found),) = chosen.items()
    items = read_recordings(*found, codec.sample_rate)
    comparison = evaluate_codec(
        codec, items, metrics=metrics, baselines=baselines, seed=args.seed, progress=True
    )
    _announce(args, name, items)
    print_table(terminal_table(comparison.rows, metrics))
    groups = usage_of(comparison.tokens)
    for line in (*notes(comparison.rows, metrics), *usage_lines(groups)):
        print(line)
    rate = entropy_rate(groups, codec.frame_rate)
    print(f"bit rate: {codec.bits_per_second:.0f} nominal, {rate:.0f} by the entropies")
    if args.json:
        write_records(args.json, _records(name, codec, comparison))
    _plot(args, comparison.rows)
    if args.save_audio:
        for system, waves in comparison.decoded.items():
            save_audio(Path(args.save_audio) / file_name(system), items, waves)
    return len(items)


def _run_suite(
    args: argparse.Namespace,
    points: Sequence[OperatingPoint],
    chosen: Chosen,
    metrics: Sequence[Metric],
    baselines: Sequence[Baseline],
) -> int:
    """Codecs on data sets; gives the number of recordings that could be read."""
    if args.plot and len(chosen) > 1:
        raise WrongUsage(f"--plot draws one data set, not {len(chosen)}")
    entries: list[suite.Entry] = []
    probes = [name for name in args.probes or DEFAULT_PROBES if name != "none"]
    columns = [*metrics, *columns_of(probes)]
    read = 0
    for name, found in chosen.items():
        items = read_recordings(*found, None)
        read += len(items)
        _announce(args, name, items)
        probing = Probing(items, probes, seed=args.seed, steps=args.lm_steps)
        systems = audio_systems(points, baselines)
        for made in evaluate(systems, items, metrics=metrics, seed=args.seed, progress=True):
            result = probing.probed(made, points)
            entries.append(suite.entry(name, result, points, items))
            if args.save_audio and result.output:
                folder = Path(args.save_audio) / (file_name(name) if len(chosen) > 1 else "")
                save_audio(folder / file_name(result.row.system), items, result.output.decoded)
        entries += [suite.Entry(name, row, None) for row in probing.references()]
    table, lines = suite.table(entries, columns)
    print_table(table)
    print("\n".join(lines))
    if args.json:
        write_records(args.json, suite.entry_records(entries, _rate(args)))
    _plot(args, [entry.row for entry in entries])
    return read


def _metrics(args: argparse.Namespace) -> list[Metric]:
    preset = suite.METRICS if args.suite else None
    return select(args.metrics or preset, rate=_rate(args))


def _rate(args: argparse.Namespace) -> int | None:
    return suite.RATE if args.suite and args.rate is None else args.rate


def _chosen(args: argparse.Namespace, name: str) -> tuple[Path, list[Record]]:
    shares = (args.validation_share, args.test_share)
    folder, found = find(name)
    return folder, choose(found, args.split, shares=shares, seed=args.seed, limit=args.limit)


def _announce(args: argparse.Namespace, name: str, items: Sequence[Item]) -> None:
    seconds = float(duration(items))
    print(f"{counted(len(items), 'recording')}, {seconds:.0f} s, of {name} ({args.split})")


def _plot(args: argparse.Namespace, rows: Sequence[Row]) -> None:
    if args.plot:
        from intaglio.recipes.evaluation.figures.training import rate_distortion

        with replacing(Path(args.plot)) as part:
            part.write_bytes(rate_distortion(rows))


def _records(name: str, codec: AudioCodec, comparison: Comparison) -> list[dict[str, Any]]:
    """JSON records, with the use of the codebooks in the one of the codec under test."""
    groups = usage_of(comparison.tokens)
    tokens = usage_record(groups) | {
        "entropy_bits_per_second": entropy_rate(groups, codec.frame_rate),
        "nominal_bits_per_second": codec.bits_per_second,
    }
    return [
        record | ({"tokens": tokens} if row.is_ours else {})
        for record, row in zip(records(comparison.rows, name), comparison.rows, strict=True)
    ]
