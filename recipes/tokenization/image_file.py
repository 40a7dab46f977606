"""What a token file remembers of its picture; pictures to the size that a codec takes, and back.

A codec that takes any size is given the picture filled up by reflection to whole positions, and
what was added is cut off again. A codec of one size is given the picture resized.
"""

from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from intaglio.codecs import ImageCodec, Tokens
from intaglio.codecs.bundle import replacing
from intaglio.data.formats.image import WHITE, Colour, read_image, write_image
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
from intaglio.recipes.file_jobs import Job, read_from, write_to

PICTURE_SUFFIX = ".png"


class PictureOptions(NamedTuple):
    """How to encode a picture.

    Attributes:
        positions: first positions to keep, of a flexible codec; None for all.
        fit: how a picture becomes the square of a codec of one size.
        background: behind what is transparent, and around a letterboxed picture.
        entropy: entropy code the ids if that makes the file smaller.
    """

    positions: int | None = None
    fit: Fit = "crop"
    background: Colour = WHITE
    entropy: bool = False


def encode_picture(codec: ImageCodec, fingerprint: str, job: Job, options: PictureOptions) -> None:
    """Encode one image file; ``fingerprint`` is the codec's.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: the input is no sound image, or does not fit the codec or the options.
    """
    with read_from(job.source) as source, write_to(job.target, SUFFIX) as target:
        pixels = read_image(source, background=options.background)
        tokens = picture_tokens(codec, pixels, options)
        height, width = pixels.shape[1:]
        extras: dict[str, str] = {} if codec.any_size else {"fit": options.fit}
        header, ids = picture_item(
            codec, fingerprint, tokens, extent=Extent(height, width), extras=extras
        )
        coding = "range" if options.entropy else "packed"
        with replacing(target) as part, part.open("wb") as file:
            write_tokens(file, header._replace(coding=coding), ids)


def decode_picture(
    codec: ImageCodec, fingerprint: str, job: Job, *, positions: int | None = None, seed: int = 0
) -> None:
    """Decode one token file; every checksum is compared before anything is written.

    Args:
        codec: the codec that made the file.
        fingerprint: the codec's.
        job: the files to read and to write.
        positions: first positions to decode, of a flexible codec; None for all in the file.
        seed: of a generative decoder's noise.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: the input is damaged or of another codec, or has not so many positions.
    """
    with read_from(job.source) as source:
        try:
            with source.open("rb") as file:
                header, ids = read_tokens(file)
            tokens = tokens_of(codec, fingerprint, header, ids)
            if positions is not None:
                if positions > len(ids):
                    raise ValueError(f"it has {len(ids)} positions, not {positions}")
                tokens = codec.first(tokens, positions)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        assert header.picture is not None
        with write_to(job.target, PICTURE_SUFFIX) as target:
            values = codec.decode(tokens, seed=seed)[0]
            write_image(target, cut(codec, to_pixels(values), header.picture))


def picture_tokens(codec: ImageCodec, pixels: Tensor, options: PictureOptions) -> Tokens:
    """Tokens, a batch of one, of a picture, uint8 [3, height, width].

    Raises:
        ValueError: the codec does not take it or not so few positions.
    """
    if codec.any_size:
        square = padded(pixels, codec.hop_length)
    else:
        square = fitted(pixels, codec.image_size, options.fit, background=options.background)
    device = next(codec.parameters()).device
    return codec.encode(to_unit(square).unsqueeze(0).to(device), positions=options.positions)


def picture_item(
    codec: ImageCodec,
    fingerprint: str,
    tokens: Tokens,
    *,
    extent: Extent,
    item: int = 0,
    extras: dict[str, str] | None = None,
) -> tuple[TokenHeader, Tensor]:
    """Header and ids [positions, groups] of one item of a batch of tokens.

    Args:
        codec: that made the tokens.
        fingerprint: the codec's.
        tokens: of a batch.
        extent: height and width of the picture.
        item: which of the batch.
        extras: for the header.
    """
    ids = tokens.ids[item][tokens.mask[item]].cpu()
    rows, columns = tokens.grid or (0, 0)
    header = image_header(
        codec.name,
        fingerprint,
        vocab=tokens.vocab,
        positions=len(ids),
        hop_length=codec.hop_length,
        picture=extent._replace(rows=rows, columns=columns),
        extras=dict(extras or {}),
    )
    return header, ids


def tokens_of(codec: ImageCodec, fingerprint: str, header: TokenHeader, ids: Tensor) -> Tokens:
    """Tokens of a token file, a batch of one, on the codec's device.

    Raises:
        TokenFileError: it is of another codec, or its header contradicts the codec.
    """
    check_same_codec(header, codec.name, fingerprint)
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


def check_same_codec(header: TokenHeader, name: str, fingerprint: str) -> None:
    """Raise TokenFileError unless a token file was made with the codec of this fingerprint."""
    if header.fingerprint != fingerprint:
        raise TokenFileError(
            f"made with the codec {header.codec} ({header.fingerprint}), which is not this one, "
            f"{name} ({fingerprint}); name the right one with --codec"
        )


def cut(codec: ImageCodec, pixels: Tensor, extent: Extent) -> Tensor:
    """Decoded pixels [3, any, any] without what was added to a picture of this extent."""
    return pixels[:, : extent.height, : extent.width] if codec.any_size else pixels


def write_picture_item(
    codec: ImageCodec, fingerprint: str, tokens: Tokens, target: Path, *, item: int = 0
) -> None:
    """Write one item of a batch of tokens of whole images as a token file; folders are made.

    Raises:
        OSError: the file cannot be written.
    """
    rows, columns = tokens.grid or (codec.image_size // codec.hop_length,) * 2
    extent = Extent(rows * codec.hop_length, columns * codec.hop_length)
    header, ids = picture_item(codec, fingerprint, tokens, extent=extent, item=item)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as part, part.open("wb") as file:
        write_tokens(file, header, ids)
