"""``intaglio eval``: quality of codecs on recordings or images, and of generators on tokens."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from intaglio.codecs import AudioCodec, ImageCodec
from intaglio.codecs.bundle import replacing
from intaglio.codecs.losses.lpips import FILE as VGG_FILE
from intaglio.data.clips import find
from intaglio.data.manifest import Record
from intaglio.recipes.commands.options.codec import (
    add_codec_options,
    default_source,
    load_any_codec,
    load_codec,
    load_image_codec,
)
from intaglio.recipes.evaluation.audio import suite
from intaglio.recipes.evaluation.audio.baselines import Baseline, baseline
from intaglio.recipes.evaluation.audio.comparison import (
    Comparison,
    Item,
    Point,
    Row,
    evaluate,
    evaluate_codec,
)
from intaglio.recipes.evaluation.audio.metrics import select
from intaglio.recipes.evaluation.audio.recordings import choose, file_name, read_items, save_audio
from intaglio.recipes.evaluation.generators.evaluate import (
    add_generator_options,
    refuse_generator_options,
    run_generators,
)
from intaglio.recipes.evaluation.image.evaluate import BASELINES, run_images
from intaglio.recipes.evaluation.image.inception import FILES as INCEPTION_FILES
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

AUDIO_BASELINES = "opus-6k,codec2-1200"
EPILOG = f"""\
examples:
  intaglio eval --codec demo/codec --data recordings/
  intaglio eval --codec demo/codec --data speech-prompts --split test --json eval.json
  intaglio eval --suite {suite.NAME} --codec demo/codec --codec encodec@3000,6000 \\
    --data speech-prompts --json suite.json
  intaglio eval --codec BUNDLE --data pictures/ --plot rates.png --figures figures/
  intaglio eval --codec BUNDLE --codec OTHER --data pictures/ --split test --figures figures/
  intaglio eval GENERATOR --codec CODEC --data TOKENS --guidance 2 --plot figures/ --json eval.json

What the codec is made for decides between recordings and images. Images are cropped to squares of
the codec's size; --codec may be repeated, and "PSNR shuffled" is what the tokens of another image
reach. With --suite, --codec and --data may be repeated, and a codec may be followed
by @ and bit rates (bits per second): for each it uses as many of its levels as stay within. Without
@ it uses all.

A GENERATOR is measured on the tokens that its training left out (--split test, with the shares and
the seed of that training): nats per token beside tables of counts, and images drawn with the
conditions of those items, judged by what real images teach, beside real images. Several generators
over the same tokens make several rows; --plot is then a folder.

Of images, rFID and LPIPS need weights that you have: --inception and --vgg. Nothing is fetched.
Metrics whose package is missing and baselines whose program is missing say so in the table.
Damaged files are skipped, named, and make the exit status 1.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.epilog = EPILOG
    add_generator_options(parser)
    add_codec_options(parser, several=True)
    _add_data_options(parser)
    parser.add_argument(
        "--suite",
        choices=(suite.NAME,),
        help="several codecs and bit rates side by side, with the use of their tokens; see below",
    )
    known = ",".join(metric.name for metric in select())
    parser.add_argument(
        "--metrics", metavar="NAMES", help=f"default: {known}; of a suite {','.join(suite.METRICS)}"
    )
    parser.add_argument(
        "--rate",
        type=int,
        metavar="HZ",
        help="sample rate at which mel distance and SI-SDR compare (the codec's; "
        f"of a suite {suite.RATE})",
    )
    parser.add_argument(
        "--baselines",
        metavar="NAMES",
        help="classic codecs: opus-6k, opus-12k…, codec2-1200, -1300, -2400, -3200, or none "
        f"({AUDIO_BASELINES}); for images jpeg, webp, avif at the size of the tokens and "
        f"at several qualities, or jpeg-q30 ({BASELINES})",
    )
    parser.add_argument("--json", metavar="FILE", help="write one record a system")
    parser.add_argument("--plot", metavar="FILE", help="draw quality over bit rate, as PNG")
    parser.add_argument(
        "--figures", metavar="FOLDER", help="of images: reconstructions, usage and prefixes, as PNG"
    )
    parser.add_argument("--size", type=int, help="of images: sides in pixels (the codec's)")
    parser.add_argument(
        "--vgg",
        metavar="FILE",
        help=f"of images: weights for the metric lpips ({VGG_FILE}, if torch.hub has kept it)",
    )
    parser.add_argument(
        "--inception",
        metavar="FILE",
        help=f"of images: weights for the metric rfid ({INCEPTION_FILES[0]}, likewise)",
    )
    parser.add_argument("--save-audio", metavar="FOLDER", help="write every decoded recording")


def _add_data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        required=True,
        action="append",
        help="folder, manifest or name of a fetched set (intaglio data); or folder of token shards",
    )
    parser.add_argument(
        "--limit",
        type=int,
        help="at most so many files, evenly spread; of generators training items for the judges",
    )
    parser.add_argument(
        "--split",
        choices=("test", "validation", "all"),
        help="files that training on the same data left out, or all (of codecs the default)",
    )
    parser.add_argument("--validation-share", type=float, default=0.05, help="as in training")
    parser.add_argument("--test-share", type=float, default=0.05, help="as in training")
    parser.add_argument("--seed", type=int, default=0, help="of the split and the intervals")


def run(args: argparse.Namespace) -> None:
    """Evaluate and print the table.

    Raises:
        OSError: an input is missing, or an output cannot be written.
        ValueError: a wrong name, a damaged codec, or no recordings.
        ModuleNotFoundError: the plot needs matplotlib.
    """
    for name in (args.json, args.plot):
        if name and not Path(name).absolute().parent.is_dir():
            raise FileNotFoundError(f"{name}: there is no folder {Path(name).parent}")
    if args.generators:
        return run_generators(args)
    refuse_generator_options(args)
    args.split = args.split or "all"
    sources = args.codec or [default_source()]
    codec: AudioCodec | None = None
    if not args.suite:
        first = load_any_codec(sources[0], args.device)
        if isinstance(first, ImageCodec):
            others = [load_image_codec(source, args.device) for source in sources[1:]]
            return run_images(args, [first, *others])
        codec = first
    for option in ("figures", "size", "vgg", "inception"):
        if getattr(args, option):
            raise ValueError(f"--{option} is for codecs of images")
    metrics = _metrics(args)
    names = _names(AUDIO_BASELINES if args.baselines is None else args.baselines)
    baselines = [baseline(name) for name in names if name != "none"]
    chosen = {name: _chosen(args, name) for name in args.data}
    if args.suite:
        points = suite.points(sources, lambda source: load_codec(source, args.device))
        read = _run_suite(args, points, chosen, metrics, baselines)
    elif codec is None or len(sources) > 1 or len(args.data) > 1:
        raise ValueError(f"several codecs or data sets are compared with --suite {suite.NAME}")
    else:
        read = _run_single(args, codec, chosen, metrics, baselines)
    count = sum(len(records) for _, records in chosen.values())
    if read < count:
        raise ValueError(
            f"{count - read} of {count} recordings could not be read; the numbers leave them out"
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
    items = read_items(*found, codec.sample_rate)
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
    points: Sequence[Point],
    chosen: Chosen,
    metrics: Sequence[Metric],
    baselines: Sequence[Baseline],
) -> int:
    """Codecs on data sets; gives the number of recordings that could be read."""
    if args.plot and len(chosen) > 1:
        raise ValueError(f"--plot draws one data set, not {len(chosen)}")
    entries: list[suite.Entry] = []
    read = 0
    for name, found in chosen.items():
        items = read_items(*found, None)
        read += len(items)
        _announce(args, name, items)
        for result in evaluate(
            points, items, metrics=metrics, baselines=baselines, seed=args.seed, progress=True
        ):
            entries.append(suite.entry(name, result, points, items))
            if args.save_audio and result.decoded:
                folder = Path(args.save_audio) / (file_name(name) if len(chosen) > 1 else "")
                save_audio(folder / file_name(result.row.system), items, result.decoded)
    table, lines = suite.table(entries, metrics)
    print_table(table)
    print("\n".join(lines))
    if args.json:
        write_records(args.json, suite.entry_records(entries, _rate(args)))
    _plot(args, [entry.row for entry in entries])
    return read


def _metrics(args: argparse.Namespace) -> list[Metric]:
    preset = suite.METRICS if args.suite else None
    return select(preset if args.metrics is None else _names(args.metrics), rate=_rate(args))


def _rate(args: argparse.Namespace) -> int | None:
    return suite.RATE if args.suite and args.rate is None else args.rate


def _chosen(args: argparse.Namespace, name: str) -> tuple[Path, list[Record]]:
    shares = (args.validation_share, args.test_share)
    folder, found = find(name)
    return folder, choose(found, args.split, shares=shares, seed=args.seed, limit=args.limit)


def _announce(args: argparse.Namespace, name: str, items: Sequence[Item]) -> None:
    seconds = sum(len(item.wave) / item.sample_rate for item in items)
    print(f"{len(items)} recordings, {seconds:.0f} s, of {name} ({args.split})")


def _plot(args: argparse.Namespace, rows: Sequence[Row]) -> None:
    if args.plot:
        from intaglio.recipes.evaluation.figures.training import rate_distortion

        with replacing(Path(args.plot)) as part:
            part.write_bytes(rate_distortion(rows))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


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
