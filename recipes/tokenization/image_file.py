"""One image to a token file and back: the size that a codec takes, and the size that the image had.

A codec that takes any size is given the image padded by reflection to whole positions, and the
padding is cut off again. A codec of one size is given the image resized.
"""

from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from intaglio.codecs import ImageCodec, Tokens
from intaglio.data.formats.atomic import replacing
from intaglio.data.formats.image import WHITE, Colour, read_image, write_image
from intaglio.data.formats.regular_file import check_regular
from intaglio.data.formats.tokens import (
    SUFFIX,
    Extent,
    TokenFileError,
    TokenHeader,
    image_header,
    read_tokens,
    write_tokens,
)
from intaglio.data.image_transforms import Fit, fitted, padded, to_pixels, to_unit
from intaglio.recipes.file_jobs import FileJob, read_from, write_to
from intaglio.recipes.tokenization.encoding_memory import check_memory
from intaglio.recipes.tokenization.same_codec import check_same_codec

IMAGE_SUFFIX = ".png"


class ImageEncoding(NamedTuple):
    """How to encode an image.

    Attributes:
        positions: first to keep, of a flexible codec; None for all.
        fit: how an image becomes the square of a codec of one size; None for "crop".
        background: behind what is transparent, and around a letterboxed image.
        entropy: entropy code the ids if that makes the file smaller.
    """

    positions: int | None = None
    fit: Fit | None = None
    background: Colour = WHITE
    entropy: bool = False


class ImageDecoding(NamedTuple):
    """How to decode a token file.

    Attributes:
        positions: first to decode, of a flexible codec; None for all in the file.
        seed: of a generative decoder's noise.
    """

    positions: int | None = None
    seed: int = 0


def encode_image_file(codec: ImageCodec, job: FileJob, options: ImageEncoding) -> None:
    """Encode one image file.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: the input is no intact image, or does not fit the codec or the options.
    """
    with read_from(job.source, job.max_stdin) as source, write_to(job.target, SUFFIX) as target:
        pixels = read_image(source, background=options.background)
        if codec.any_size:
            try:
                check_memory(codec, *pixels.shape[1:])
            except ValueError as error:
                raise ValueError(f"{source}: {error}") from error
        tokens = _encoded(codec, pixels, options)
        height, width = pixels.shape[1:]
        extras: dict[str, str] = {} if codec.any_size else {"fit": options.fit or "crop"}
        extent = Extent(height, width)
        header, ids = image_item(codec, tokens, extent=extent, extras=extras)
        coding = "range" if options.entropy else "packed"
        with replacing(target) as part, part.open("wb") as file:
            write_tokens(file, header._replace(coding=coding), ids)


def decode_image_file(codec: ImageCodec, job: FileJob, options: ImageDecoding) -> None:
    """Decode one token file; every checksum is verified before anything is written.

    Args:
        codec: the codec that made the file.
        job: the files to read and to write.
        options: how.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: the input is damaged or of another codec, or has too few positions.
    """
    with read_from(job.source, job.max_stdin) as source:
        check_regular(source, "a token file")
        try:
            with source.open("rb") as file:
                header, ids = read_tokens(file)
            tokens = tokens_of_file(codec, header, ids)
            if options.positions is not None:
                if options.positions > len(ids):
                    raise ValueError(f"it has {len(ids)} positions, not {options.positions}")
                tokens = codec.first(tokens, options.positions)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        assert header.picture is not None
        with write_to(job.target, IMAGE_SUFFIX) as target:
            values = codec.decode(tokens, seed=options.seed)[0]
            write_image(target, cut(codec, to_pixels(values), header.picture))


def image_item(
    codec: ImageCodec,
    tokens: Tokens,
    *,
    extent: Extent,
    item: int = 0,
    extras: dict[str, str] | None = None,
) -> tuple[TokenHeader, Tensor]:
    """Header and ids [positions, groups] of one item of a batch of tokens.

    Args:
        codec: that made the tokens.
        tokens: of a batch.
        extent: height and width of the image.
        item: which of the batch.
        extras: for the header.
    """
    ids = tokens.ids[item][tokens.mask[item]].cpu()
    rows, columns = tokens.grid or (0, 0)
    header = image_header(
        codec.name,
        codec.fingerprint,
        vocab=tokens.vocab,
        positions=len(ids),
        hop_length=codec.hop_length,
        picture=extent._replace(rows=rows, columns=columns),
        extras=dict(extras or {}),
    )
    return header, ids


def write_image_item(codec: ImageCodec, tokens: Tokens, target: Path, *, item: int = 0) -> None:
    """Write one item of a batch of tokens of whole images as a token file; folders are made.

    Raises:
        OSError: the file cannot be written.
    """
    rows, columns = tokens.grid or (codec.image_size // codec.hop_length,) * 2
    extent = Extent(rows * codec.hop_length, columns * codec.hop_length)
    header, ids = image_item(codec, tokens, extent=extent, item=item)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as part, part.open("wb") as file:
        write_tokens(file, header, ids)


def tokens_of_file(codec: ImageCodec, header: TokenHeader, ids: Tensor) -> Tokens:
    """Tokens of a token file, a batch of one, on the codec's device.

    Raises:
        TokenFileError: it is of another codec, or its header contradicts the codec.
    """
    check_same_codec(header, codec)
    if header.picture is None or header.hop_length != codec.hop_length:
        raise TokenFileError("refused: its header contradicts its codec")
    device = next(codec.parameters()).device
    try:
        if (header.picture.grid is None) is codec.any_size:
            raise ValueError("a grid belongs to codecs that take any size, and to no others")
        tokens = codec.tokens(ids.unsqueeze(0).to(device), header.picture.grid)
        codec.check_tokens(tokens._replace(vocab=header.vocab))
    except ValueError as error:
        raise TokenFileError(f"refused: its header contradicts its codec: {error}") from error
    return tokens


def cut(codec: ImageCodec, pixels: Tensor, extent: Extent) -> Tensor:
    """Decoded pixels [3, any, any] without what was added to an image of this extent."""
    return pixels[:, : extent.height, : extent.width] if codec.any_size else pixels


def _encoded(codec: ImageCodec, pixels: Tensor, options: ImageEncoding) -> Tokens:
    """Tokens, a batch of one, of an image, uint8 [3, height, width]."""
    if codec.any_size:
        square = padded(pixels, codec.hop_length)
    else:
        fit, background = options.fit or "crop", options.background
        square = fitted(pixels, codec.image_size, fit, background=background)
    device = next(codec.parameters()).device
    return codec.encode(to_unit(square).unsqueeze(0).to(device), positions=options.positions)
