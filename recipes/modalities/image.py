"""Images, by `ImageCodec`."""

from pathlib import Path
from typing import Any

from intaglio.codecs import ImageCodec, Tokens
from intaglio.data.formats.image import image_format
from intaglio.data.formats.tokens import TokenHeader
from intaglio.data.image_transforms import VIEWS
from intaglio.generators.generator import Generator
from intaglio.recipes.commands.options.words import SEED, whole
from intaglio.recipes.file_jobs import FileJob
from intaglio.recipes.modalities.base import Modality, Option
from intaglio.recipes.sampling.images import PNGImages
from intaglio.recipes.tokenization.batch_image import ImageTokenizer
from intaglio.recipes.tokenization.image_file import (
    IMAGE_SUFFIX,
    ImageDecoding,
    ImageEncoding,
    decode_image_file,
    encode_image_file,
    write_image_item,
)

ENCODE = (
    Option(
        "--tokens",
        "keep the first N positions (flexible codecs)",
        type=whole(1),
        metavar="N",
        dest="positions",
    ),
    Option(
        "--fit",
        "for a codec of one size, use the middle of an image (crop, the default) or all",
        choices=("crop", "letterbox"),
    ),
)
DECODE = (
    Option(
        "--tokens",
        "decode the first N positions (flexible codecs)",
        type=whole(1),
        metavar="N",
        dest="positions",
    ),
    Option("--seed", "seed for the noise of a generative decoder (0)", type=SEED),
)
TOKENIZE = (
    Option("--batch-size", "images encoded at once (32)", type=whole(1)),
    Option("--size", "sides of the images in pixels (the codec's)", type=whole(1)),
    Option(
        "--views",
        "of an image: 1 the middle, 2 also its mirror image, 10 also both of four corners (1)",
        type=whole(1),
        choices=VIEWS,
    ),
)


class ImageModality(Modality[ImageCodec]):
    """Pixels."""

    codec, tokenizer = ImageCodec, ImageTokenizer
    plural, item = "images", "an image"
    encoding, decoding = ImageEncoding, ImageDecoding
    options = {"encode": ENCODE, "decode": DECODE, "tokenize": TOKENIZE}
    decoded_suffix = IMAGE_SUFFIX

    def check_encoding(self, codec: ImageCodec, options: ImageEncoding) -> None:
        """Raise ValueError if ``fit`` is given for a codec of any size."""
        if options.fit is not None and codec.any_size:
            raise ValueError(f"{codec.name} takes images of any size; --fit is for codecs of one")

    def check_decoded(self, path: Path) -> None:
        """Raise ValueError unless it is PNG, WebP or JPEG."""
        image_format(path)

    def encode_file(self, codec: ImageCodec, job: FileJob, options: ImageEncoding) -> None:
        """See `encode_image_file`."""
        encode_image_file(codec, job, options)

    def decode_file(self, codec: ImageCodec, job: FileJob, options: ImageDecoding) -> None:
        """See `decode_image_file`."""
        decode_image_file(codec, job, options)

    def write_item(self, codec: ImageCodec, tokens: Tokens, target: Path, *, item: int = 0) -> None:
        """See `write_image_item`."""
        write_image_item(codec, tokens, target, item=item)

    def codec_facts(self, codec: ImageCodec) -> dict[str, Any]:
        """Sizes."""
        return {
            "image_size": codec.image_size,
            "hop_length": codec.hop_length,
            "any_size": codec.any_size,
            "flexible": codec.is_flexible,
            "positions": codec.positions,
            "nominal_bits": codec.bits,
        }

    def token_facts(self, header: TokenHeader, size: int) -> dict[str, Any]:
        """Sizes, and bits of a pixel."""
        assert header.picture is not None
        height, width, rows, columns = header.picture
        bits = header.positions * header.bits_per_position
        return {
            "height": height,
            "width": width,
            "rows": rows,
            "columns": columns,
            "hop_length": header.hop_length,
            "nominal_bits": bits,
            "nominal_bits_per_pixel": bits / (height * width),
            "actual_bits_per_pixel": 8 * size / (height * width),
        }

    def medium(self, generator: Generator, codec: ImageCodec) -> PNGImages:
        """Pixels, as PNG."""
        return PNGImages(generator, codec)
