"""Images from a trained generator, in a few lines of Python.

python recipes/samples/images.py GENERATOR CODEC "a red apple" "a happy snail" --out images.png

GENERATOR and CODEC are bundles, or checkpoints of `intaglio fit`. A generator that was trained with
classes takes their names or numbers instead of texts. Each row of the picture is one text; image n
has the seed SEED + n, so the same command draws the same picture.
"""

import argparse

import torch

from intaglio.codecs import ImageCodec
from intaglio.codecs import load as load_codec
from intaglio.data.formats.image import write_image
from intaglio.data.image_transforms import to_pixels
from intaglio.generators import load
from intaglio.generators.conditioning.base import PromptCondition
from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.detokenize import check_codec, images_of
from intaglio.generators.samplers.sampler import Sampler
from intaglio.recipes.errors import USER_ERRORS, explain
from intaglio.recipes.sampling.requests import class_number


def main() -> None:
    """Draw what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("generator")
    parser.add_argument("codec")
    parser.add_argument("requests", nargs="+", help="texts, or names or numbers of classes")
    parser.add_argument("--columns", type=int, default=4, help="images of each request (4)")
    parser.add_argument("--guidance", type=float, default=2.0, help="1 for none (2)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="images.png", help="picture to write (images.png)")
    args = parser.parse_args()
    generator, codec = load(args.generator), load_codec(args.codec)
    if not isinstance(codec, ImageCodec):
        raise ValueError(f"{args.codec} is not a codec of images")
    check_codec(generator, codec)  # tokens of one codec mean nothing to another
    if isinstance(generator.condition, PromptCondition):
        condition = generator.condition.of_texts(args.requests)
    else:
        condition = torch.tensor([class_number(generator, name) for name in args.requests])
    condition = condition.repeat_interleave(args.columns, 0)
    sampler = Sampler(guidance=Guidance(args.guidance, "linear"))
    tokens = sampler.generate(generator, condition, seed=args.seed)
    images = to_pixels(images_of(generator, codec, tokens))
    rows = [torch.cat(list(row), 2) for row in images.split(args.columns)]
    write_image(args.out, torch.cat(rows, 1))


if __name__ == "__main__":
    try:
        main()
    except USER_ERRORS as error:
        raise SystemExit(f"images.py: {explain(error)}") from None
