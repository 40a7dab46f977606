"""``intaglio eval image``: quality of image codecs on pictures, next to classic codecs."""

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from intaglio.codecs import ImageCodec
from intaglio.codecs.losses.lpips import FILE as VGG_FILE
from intaglio.data.formats.atomic import replacing
from intaglio.data.formats.printable import counted
from intaglio.data.pictures import find_images
from intaglio.recipes.commands.options.codec import (
    add_codec_options,
    default_source,
    load_image_codec,
)
from intaglio.recipes.commands.options.evaluation import (
    add_evaluation_options,
    check_folders,
)
from intaglio.recipes.commands.options.words import names, whole
from intaglio.recipes.evaluation.figures.canvas import check_installed
from intaglio.recipes.evaluation.image.baselines import ImageBaseline, image_baselines
from intaglio.recipes.evaluation.image.comparison import compare_images
from intaglio.recipes.evaluation.image.inception import FILES as INCEPTION_FILES
from intaglio.recipes.evaluation.image.pictures import read_pictures
from intaglio.recipes.evaluation.image.selection import select_image_metrics
from intaglio.recipes.evaluation.image.table import image_columns
from intaglio.recipes.evaluation.items import Item, by_name, choose, evenly_spaced
from intaglio.recipes.evaluation.rows import Output, SystemResult
from intaglio.recipes.evaluation.scores import Metric
from intaglio.recipes.evaluation.tables import (
    notes,
    print_table,
    records,
    terminal_table,
    write_records,
)
from intaglio.recipes.evaluation.usage import usage_lines, usage_of

ABOUT = "measure the quality of image codecs on pictures, next to JPEG, WebP and AVIF"
BASELINES = "jpeg,webp,avif"
SHOWN = 8  # pictures of a figure
EXAMPLES = """\
  intaglio eval image --codec BUNDLE --data pictures/ --plot rates.png --figures figures/
  intaglio eval image --codec BUNDLE --codec OTHER --data pictures/ --split test --json eval.json"""
EPILOG = f"""\
examples:
{EXAMPLES}

Images are cropped to squares of the codec's size; --codec may be repeated. "PSNR shuffled" is the
PSNR that the tokens of another image reach. A codec that was trained with prefixes of its tokens
has a row for every power of two of them.

rFID and LPIPS need weights that you have: --inception and --vgg. Nothing is fetched. Metrics whose
package is missing and baselines that Pillow lacks say so in the table. Damaged files are skipped,
named, and make the exit status 1.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.epilog = EPILOG
    add_codec_options(parser, several=True)
    add_evaluation_options(
        parser,
        data="folder or manifest of images, or name of a fetched set (intaglio data)",
        limit="at most so many images, evenly spread",
    )
    parser.add_argument(
        "--metrics",
        type=names,
        metavar="NAMES",
        help="psnr, ssim, lpips-lite, rkid, rfd, lpips, rfid (all; the last two if their "
        "weights are there)",
    )
    parser.add_argument(
        "--baselines",
        type=names,
        metavar="NAMES",
        default=BASELINES,
        help="jpeg, webp, avif at the size of the tokens and at several qualities, or one quality "
        f"such as jpeg-q30, or none ({BASELINES})",
    )
    parser.add_argument("--size", type=whole(1), help="sides in pixels (the codec's)")
    parser.add_argument(
        "--vgg",
        metavar="FILE",
        help=f"weights for the metric lpips ({VGG_FILE}, if torch.hub has kept it)",
    )
    parser.add_argument(
        "--inception",
        metavar="FILE",
        help=f"weights for the metric rfid ({INCEPTION_FILES[0]}, from the same folder)",
    )
    parser.add_argument("--plot", metavar="FILE", help="draw quality over bits per pixel, as PNG")
    parser.add_argument(
        "--figures", metavar="FOLDER", help="draw reconstructions, usage and prefixes, as PNG"
    )


def run(args: argparse.Namespace) -> None:
    """Evaluate and print the table.

    Raises:
        OSError: an input is missing, or an output cannot be written.
        ValueError: a wrong name or file of weights, no images, or some of them damaged.
        ModuleNotFoundError: a figure needs matplotlib.
    """
    check_folders(args.json, args.plot)
    check_installed(args.plot, args.figures)
    codecs = [load_image_codec(one, args.device) for one in args.codec or [default_source()]]
    metrics = select_image_metrics(
        args.metrics,
        vgg_file=args.vgg,
        inception_file=args.inception,
        device=next(codecs[0].parameters()).device,
    )
    baselines = image_baselines([name for name in args.baselines if name != "none"])
    size = args.size or codecs[0].image_size
    for codec in codecs:
        if size != codec.image_size and not codec.any_size:
            raise ValueError(f"{codec.name} takes {codec.image_size} pixels, not {size}")
    shares = (args.validation_share, args.test_share)
    folder, found = find_images(args.data)
    chosen = choose(found, args.split, shares=shares, seed=args.seed, limit=args.limit)
    items = read_pictures(folder, chosen, size)
    _report(args, by_name(codecs), items, metrics, baselines)
    if len(items) < len(chosen):
        raise ValueError(
            f"{len(chosen) - len(items)} of {counted(len(chosen), 'image')} could not be read; the "
            "numbers leave them out"
        )


def _report(
    args: argparse.Namespace,
    codecs: Mapping[str, ImageCodec],
    items: Sequence[Item],
    metrics: Sequence[Metric],
    baselines: Sequence[ImageBaseline],
) -> None:
    size = items[0].content.shape[1]
    results = list(
        compare_images(
            codecs, items, metrics=metrics, baselines=baselines, seed=args.seed, progress=True
        )
    )
    rows = [result.row for result in results]
    print(
        f"{counted(len(items), 'image')} of {args.data} ({args.split}), "
        f"cropped to {size} x {size} pixels"
    )
    print_table(terminal_table(rows, metrics, image_columns(results), bits=""))
    for line in notes(rows, metrics):
        print(line)
    for row, output in results:
        if output and row.system in codecs:
            _print_tokens(output, name=row.system if len(codecs) > 1 else "")
    if args.json:
        found = records(rows, args.data, bits="bits")
        write_records(args.json, [{"bits_per_pixel": None, "size": size} | one for one in found])
    _figures(args, codecs, items, results)


def _print_tokens(output: Output, *, name: str) -> None:
    groups = usage_of(output.tokens)
    carried = output.tokens[0].ids.shape[1] * math.fsum(group.entropy for group in groups)
    bits = f"bits of an image: {output.bits:.0f} nominal, {carried:.0f} by the entropies"
    for line in (*usage_lines(groups), bits):
        print(f"{name}: {line}" if name else line)


def _figures(
    args: argparse.Namespace,
    codecs: Mapping[str, ImageCodec],
    items: Sequence[Item],
    results: Sequence[SystemResult],
) -> None:
    from intaglio.recipes.evaluation.figures.images import picture_grid, rate_curves
    from intaglio.recipes.evaluation.figures.training import code_usage

    if args.plot:
        _write(Path(args.plot), rate_curves([result.row for result in results]))
    if not args.figures:
        return
    folder = Path(args.figures)
    folder.mkdir(parents=True, exist_ok=True)
    indices = evenly_spaced(len(items), SHOWN)
    originals = [items[index].content for index in indices]

    def picked(outputs: Iterable[Output]) -> list[list[Tensor]]:
        return [[one.decoded[index] for index in indices] for one in outputs]

    ran = {row.system: output for row, output in results if output}
    shown = {name: one for name, one in ran.items() if name in codecs or name.endswith("-matched")}
    _write(folder / "reconstructions.png", picture_grid([originals, *picked(shown.values())]))
    print(f"{folder / 'reconstructions.png'}: from the top originals, {', '.join(shown)}")
    for name in codecs:
        stem = f"{name}-" if len(codecs) > 1 else ""
        ours = [one for system, one in ran.items() if system.partition("@")[0] == name]
        _write(folder / f"{stem}usage.png", code_usage(usage_of(ours[0].tokens)))
        if len(ours) > 1:
            _write(folder / f"{stem}prefixes.png", picture_grid([*picked(ours[::-1]), originals]))


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as part:
        part.write_bytes(content)
