"""``intaglio sample``: images drawn by a generator, as files or in tar shards."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from intaglio.codecs import ImageCodec
from intaglio.codecs.bundle import fingerprint, replacing
from intaglio.data.formats.image import encode_image, read_image, write_image
from intaglio.data.formats.shards import ShardWriter
from intaglio.data.image_transforms import fitted
from intaglio.generators import Generator, load
from intaglio.generators.conditioning.base import PromptCondition
from intaglio.generators.conditioning.text import words
from intaglio.generators.samplers.sampler import Event
from intaglio.recipes.commands.options.codec import (
    add_codec_options,
    default_source,
    load_image_codec,
)
from intaglio.recipes.commands.options.sampler import add_sampler_options, sampler_of, sampling
from intaglio.recipes.evaluation.figures.images import picture_grid
from intaglio.recipes.sampling.images import (
    ImagePipeline,
    ImageRequest,
    InpaintingRegion,
    class_number,
    title_of,
)
from intaglio.recipes.sampling.pretrained import pretrained

EPILOG = """\
examples:
  intaglio sample emoji --text "raised hand, dark skin tone" --count 8 --guidance 3 --grid -o hands
  intaglio sample runs/llamagen/last.ckpt --codec CODEC --text "a red apple" -o apples --count 8
  intaglio sample GENERATOR --codec CODEC --class cat --class 7 -o out --guidance 2 --grid
  intaglio sample GENERATOR --codec CODEC --texts captions.txt -o out --count 10 --per-shard 1000
  intaglio sample GENERATOR --codec CODEC --text moon --inpaint photo.png --mask hole.png -o out

Image number n is drawn with the seed SEED + n: it is the same whatever is drawn with it. Each is
OUT/000000.png and so on, and OUT/samples.json tells how each was made. With --per-shard they are
tar shards, each image with a JSON file beside it. To go on after an interruption, run the same
command again: what is there is left alone. Where nothing is told, the generator draws what it
likes. With --inpaint the squares of the image that the mask has white pixels in are drawn anew.
"""
REQUEST = "request.json"
RECORDS = "samples.json"


class Target(NamedTuple):
    """A file to write, and the requests whose images go into it."""

    path: Path
    requests: Sequence[ImageRequest]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.epilog = EPILOG
    parser.add_argument(
        "generator",
        metavar="GENERATOR",
        help="bundle, training checkpoint, or emoji, which comes with the package and its codec",
    )
    parser.add_argument("-o", "--out", required=True, help="folder for the images")
    add_codec_options(parser)
    told = parser.add_mutually_exclusive_group()
    told.add_argument(
        "--class", dest="classes", action="append", metavar="NAME", help="name or number; repeat"
    )
    told.add_argument("--text", dest="texts", action="append", metavar="WORDS", help="repeat")
    told.add_argument("--texts", dest="file", metavar="FILE", help="a text file, a text a line")
    parser.add_argument("--count", type=int, default=1, help="images of each class or text (1)")
    parser.add_argument("--seed", type=int, default=0, help="of the first image (0)")
    add_sampler_options(parser)
    parser.add_argument("--tokens", type=int, help="draw only the first (flexible codecs)")
    parser.add_argument("--inpaint", metavar="IMAGE", help="draw a part of an image anew")
    parser.add_argument("--mask", metavar="IMAGE", help="of --inpaint; white is drawn anew")
    parser.add_argument("--batch-size", type=int, default=16, help="images drawn at once (16)")
    parser.add_argument("--grid", action="store_true", help="also OUT/grid.png, a row for each")
    parser.add_argument("--per-shard", type=int, metavar="N", help="write tar shards of N images")
    parser.add_argument("--overwrite", action="store_true", help="draw what is there again")


def run(args: argparse.Namespace) -> None:
    """Draw all images that are not there yet.

    Raises:
        OSError: an input is missing, or the output cannot be written.
        ValueError: an option is wrong, or generator, codec and requests do not fit together.
    """
    for name in ("count", "batch_size", "per_shard"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} is 1 or more, not {getattr(args, name)}")
    if (args.inpaint is None) is not (args.mask is None):
        raise ValueError("--inpaint IMAGE and --mask IMAGE belong together")
    if args.grid and args.per_shard:
        raise ValueError("--grid is for files, not for --per-shard")
    sampler = sampler_of(sampling(args), positions=args.tokens)
    known = pretrained(args.generator)
    own = str(known.codec) if known else None
    codec = load_image_codec(args.codec or own or default_source(), args.device)
    generator = load(known.generator if known else args.generator)
    generator = generator.to(next(codec.parameters()).device)
    region = None if args.inpaint is None else _region(codec, args.inpaint, args.mask)
    pipeline = ImagePipeline(generator, codec, sampler, region=region)
    requests = _requests(generator, args)
    out = Path(args.out)
    about = _about(generator, codec, args)
    _begin(out, about | {"requests": [request._asdict() for request in requests]}, args.overwrite)
    targets = list(_targets(out, requests, args.per_shard))
    left = [one for one in targets if args.overwrite or not one.path.exists()]
    _draw_all(pipeline, left, about, args)
    records = [
        {"file": target.path.name, **_told(request), **about}
        for target in targets
        for request in target.requests
    ]
    with replacing(out / RECORDS) as part:
        part.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    if args.grid:
        _write_grid(out, targets, generator, args.count)
    kept = len(targets) - len(left)
    print(
        f"{len(requests)} images in {out}" + (f", {kept} files were there already" if kept else "")
    )


def _region(codec: ImageCodec, image: str, mask: str) -> InpaintingRegion:
    pixels, white = read_image(image), read_image(mask)
    if pixels.shape != white.shape:
        (height, width), (rows, columns) = pixels.shape[1:], white.shape[1:]
        raise ValueError(
            f"the mask has {columns} x {rows} pixels, the image {width} x {height}; make them equal"
        )
    pixels, white = (fitted(one, codec.image_size) for one in (pixels, white))
    return InpaintingRegion(pixels, white.float().mean(0) > 127)


def _requests(generator: Generator, args: argparse.Namespace) -> list[ImageRequest]:
    """What is wished, in order, with a seed for each."""
    texts = args.texts
    if args.file is not None:
        texts = [line for line in Path(args.file).read_text("utf-8").splitlines() if line.strip()]
        if not texts:
            raise ValueError(f"{args.file} has no text")
    if texts is not None:
        if not isinstance(generator.condition, PromptCondition):
            raise ValueError(f"{generator.name} is told classes, not texts: use --class")
        empty = [text for text in texts if not words(text)]
        if empty:
            raise ValueError(f"a text has words, {empty[0]!r} has none; leave --text out for none")
        generator.condition.check_texts(texts)  # too long ones are refused now
        told = [{"text": text} for text in texts]
    elif args.classes is not None:
        told = [{"label": class_number(generator, name)} for name in args.classes]
    else:
        told = [{}]
    each: list[dict[str, Any]] = [one for one in told for _ in range(args.count)]
    return [ImageRequest(args.seed + number, **one) for number, one in enumerate(each)]


def _about(generator: Generator, codec: ImageCodec, args: argparse.Namespace) -> dict[str, Any]:
    """What decides the images beside the requests."""
    return {
        "generator": generator.name,
        "generator_fingerprint": fingerprint(generator),
        "codec": codec.name,
        "codec_fingerprint": codec.fingerprint,
        **sampling(args),
        **{name: getattr(args, name) for name in ("tokens", "inpaint", "mask", "per_shard")},
    }


def _begin(out: Path, request: dict[str, Any], overwrite: bool) -> None:
    """Note what is asked for, or compare it with what was.

    Raises:
        FileExistsError: the folder holds images of another request.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / REQUEST
    text = json.dumps(request, indent=1) + "\n"
    there = any(one.suffix in (".png", ".tar") for one in out.iterdir())
    if there and not overwrite and not (path.exists() and path.read_text("utf-8") == text):
        raise FileExistsError(
            f"{out} holds images of another request; add --overwrite or choose another folder"
        )
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def _targets(
    out: Path, requests: Sequence[ImageRequest], per_shard: int | None
) -> Iterator[Target]:
    size = per_shard or 1
    for number, start in enumerate(range(0, len(requests), size)):
        suffix = ".tar" if per_shard else ".png"
        yield Target(out / f"{number:06}{suffix}", requests[start : start + size])


def _told(request: ImageRequest) -> dict[str, Any]:
    return {name: value for name, value in request._asdict().items() if value not in ("", -1)}


def _draw_all(
    pipeline: ImagePipeline,
    targets: Sequence[Target],
    about: dict[str, Any],
    args: argparse.Namespace,
) -> None:
    """Write the targets one by one; images of a batch may go into several."""
    requests = [request for target in targets for request in target.requests]
    with tqdm(total=len(requests), unit="image", disable=None, file=sys.stderr) as progress:

        def tell(event: Event) -> None:
            progress.set_postfix_str(f"step {event.step.number + 1}/{event.step.total}")

        images = pipeline.batches(requests, args.batch_size, tell)
        for target in targets:
            content = []
            for _ in target.requests:
                content.append(next(images))
                progress.update()
            if args.per_shard:
                _write_shard(target.path, content, about)
            else:
                write_image(target.path, content[0][1])


def _write_shard(
    path: Path, content: Sequence[tuple[ImageRequest, Tensor]], about: dict[str, Any]
) -> None:
    with replacing(path) as part, part.open("wb") as file:
        writer = ShardWriter(file)
        for request, pixels in content:
            said = json.dumps(_told(request) | about).encode()
            writer.add(f"{request.seed:09}", {"png": encode_image(pixels, "PNG"), "json": said})
        writer.close()


def _write_grid(out: Path, targets: Sequence[Target], generator: Generator, count: int) -> None:
    """Write ``grid.png``: a row for each class or text, or rows of eight of what has one image."""
    images = [read_image(target.path) for target in targets]
    columns = count if count > 1 else min(8, len(images))
    blank = [torch.full_like(images[0], 255)] * (-len(images) % columns)
    rows = [[*images, *blank][start : start + columns] for start in range(0, len(images), columns)]
    names = [title_of(generator, target.requests[0]) for target in targets[::count]]
    with replacing(out / "grid.png") as part:
        part.write_bytes(picture_grid(rows, names if count > 1 else ()))
