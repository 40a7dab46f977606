"""``intaglio sample``: images drawn by a generator, as files or in tar shards."""

import argparse
from pathlib import Path

from intaglio.codecs import ImageCodec
from intaglio.data.formats.regular_file import read_text
from intaglio.generators import Generator, load
from intaglio.generators.samplers.speculative import SpeculativeSampler
from intaglio.recipes.commands.options.codec import (
    add_codec_options,
    default_source,
    load_any_codec,
)
from intaglio.recipes.commands.options.sampler import add_sampler_options, sampler_of, sampling
from intaglio.recipes.commands.options.speculation import keep_learned
from intaglio.recipes.commands.options.words import SEED, whole
from intaglio.recipes.errors import WrongUsage
from intaglio.recipes.modalities import modality_of
from intaglio.recipes.sampling.folder import GRID, provenance_record, write_samples
from intaglio.recipes.sampling.images import kept_tokens, read_region, write_grid
from intaglio.recipes.sampling.pipeline import SamplingPipeline
from intaglio.recipes.sampling.requests import SampleRequest, requests_of, title_of

EPILOG = """\
examples:
  intaglio sample emoji --text "raised hand, dark skin tone" --count 8 --guidance 3 --grid -o hands
  intaglio sample RUN/checkpoints/last.ckpt --codec CODEC --text "a red apple" -o apples --count 8
  intaglio sample GENERATOR --codec CODEC --class cat --class 7 -o out --guidance 2 --grid
  intaglio sample GENERATOR --codec CODEC --texts captions.txt -o out --count 10 --per-shard 1000
  intaglio sample GENERATOR --codec CODEC --text moon --inpaint photo.png --mask hole.png -o out
  intaglio sample emoji --text "red heart" -o hearts --drafter jacobi --accept rejection --window 8

Image number n has the seed SEED + n, and its tokens are the same whatever is drawn along with it.
The images are written to OUT/000000.png and so on, and OUT/samples.json records how each was made.
With --per-shard they go into tar shards, each image with a JSON file. After an interruption, run
the same command again: images that are there are kept. With --overwrite, those of an earlier
request stay until all are drawn, and are then replaced at once. Without a class or text the samples
are unconditional. With --inpaint, those squares of the image are drawn again in which the mask has
a white pixel.

With --drafter, generators that draw token by token draw several in a pass. --accept gumbel keeps
what --drafter none would draw, token for token; every other exact rule draws from the same
distribution, and an approximate one from another. The records then say "exact": true or false, and
of each image its passes, its tokens in a pass, the share of the drafts that was accepted, and how
far its tokens may be from the distribution in total variation ("tv_excess", 0 if exact).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.epilog = EPILOG
    parser.add_argument(
        "generator",
        metavar="GENERATOR",
        help="bundle, training checkpoint, or emoji, the generator of the package",
    )
    parser.add_argument("-o", "--out", required=True, help="folder for the images")
    add_codec_options(parser)
    condition = parser.add_mutually_exclusive_group()
    condition.add_argument(
        "--class",
        dest="classes",
        action="append",
        metavar="NAME",
        help="name or number of a class; may be repeated",
    )
    condition.add_argument(
        "--text",
        dest="texts",
        action="append",
        metavar="WORDS",
        help="description of the images; may be repeated",
    )
    condition.add_argument(
        "--texts", dest="file", metavar="FILE", help="a text file with one description on each line"
    )
    parser.add_argument(
        "--count", type=whole(1), default=1, help="images of each class or text (1)"
    )
    parser.add_argument("--seed", type=SEED, default=0, help="seed of the first image (0)")
    add_sampler_options(parser)
    parser.add_argument(
        "--tokens", type=whole(1), help="draw only so many tokens of each image (flexible codecs)"
    )
    parser.add_argument("--inpaint", metavar="IMAGE", help="draw a part of this image again")
    parser.add_argument("--mask", metavar="IMAGE", help="white where --inpaint draws")
    parser.add_argument("--batch-size", type=whole(1), default=16, help="images drawn at once (16)")
    parser.add_argument(
        "--grid", action="store_true", help="also write OUT/grid.png, a row for each class or text"
    )
    parser.add_argument(
        "--per-shard", type=whole(1), metavar="N", help="write tar shards of N images"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="draw all again, and replace what is there"
    )


def run(args: argparse.Namespace) -> None:
    """Draw all items that are not there yet.

    Raises:
        OSError: an input is missing, or the output cannot be written.
        ValueError: an option is wrong, or generator, codec and requests do not fit together.
    """
    _check(args)
    codec = load_any_codec(args.codec or default_source(args.generator), args.device)
    sampler = sampler_of(sampling(args), positions=args.tokens, codec=codec)
    generator = load(args.generator).to(next(codec.parameters()).device)
    modality = modality_of(codec)
    medium = modality.medium(generator, codec)
    given = None
    if args.inpaint is not None or args.grid:
        if not isinstance(codec, ImageCodec):
            raise ValueError(
                f"--inpaint and --grid are for images, {codec.name} is a codec of {modality.plural}"
            )
        if args.inpaint is not None:
            region = read_region(codec, args.inpaint, args.mask)
            given = kept_tokens(generator, codec, region)
    pipeline = SamplingPipeline(generator, sampler, medium, given=given)
    requests = _requests(generator, args)
    options = {name: getattr(args, name) for name in ("tokens", "inpaint", "mask", "per_shard")}
    if isinstance(sampler, SpeculativeSampler):
        options["exact"] = sampler.rule.exact
    out = Path(args.out)
    files, kept = write_samples(
        pipeline,
        requests,
        out,
        about=provenance_record(generator, codec) | sampling(args) | options,
        batch_size=args.batch_size,
        per_shard=args.per_shard,
        overwrite=args.overwrite,
    )
    if isinstance(sampler, SpeculativeSampler):
        keep_learned(args.drafter, sampler.drafter)
    if args.grid:
        titles = [title_of(generator, request) for request in requests[:: args.count]]
        images = [file.path for file in files]
        write_grid(out / GRID, images, titles, columns=args.count)
    there = f", {kept} files were there already" if kept else ""
    print(f"{len(requests)} {medium.noun}s in {out}{there}")


def _check(args: argparse.Namespace) -> None:
    if (args.inpaint is None) is not (args.mask is None):
        raise WrongUsage("--inpaint IMAGE and --mask IMAGE belong together")
    if args.grid and args.per_shard:
        raise WrongUsage("--grid is for files, not for --per-shard")


def _requests(generator: Generator, args: argparse.Namespace) -> list[SampleRequest]:
    """One request for each image, in order."""
    texts = args.texts or []
    if args.file is not None:
        lines = read_text(Path(args.file), "a list of texts").splitlines()
        texts = [line for line in lines if line.strip()]
        if not texts:
            raise ValueError(f"{args.file} has no text")
    return requests_of(
        generator, classes=args.classes or [], texts=texts, count=args.count, seed=args.seed
    )
