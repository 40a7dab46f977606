"""Tokens that a generator drew as what its codec makes of them."""

import torch
from torch import Tensor

from intaglio.codecs import AudioCodec, Codec, ImageCodec
from intaglio.generators.generator import Generator
from intaglio.generators.provenance import Provenance


def check_codec(generator: Generator, codec: Codec) -> None:
    """Refuse a codec whose tokens the generator does not draw.

    Raises:
        ValueError: the generator was trained on the tokens of another, or the vocabularies differ.
    """
    if generator.provenance is not None:
        generator.provenance.check(Provenance(codec.name, codec.fingerprint))
    if generator.vocab and generator.vocab != codec.vocab:
        raise ValueError(
            f"{generator.name} draws tokens of vocabulary {generator.vocab}, {codec.name} has "
            f"{codec.vocab}"
        )


def images_of(generator: Generator, codec: ImageCodec, tokens: Tensor, *, seed: int = 0) -> Tensor:
    """Images, float [batch, 3, height, width], in [-1, 1].

    Args:
        generator: that drew the tokens.
        codec: that it was trained with; see `check_codec`.
        tokens: ids or vectors, [batch, positions, width]; of a flexible codec perhaps the first.
        seed: of a generative decoder's noise, which is the same for every item.

    Raises:
        ValueError: they are not what the codec decodes.
    """
    grid = (generator.shape[0], generator.shape[1]) if len(generator.shape) == 2 else None
    if generator.vocab:
        return codec.decode(codec.tokens(tokens, grid if codec.any_size else None), seed=seed)
    return codec.from_latents(tokens, grid=grid, seed=seed)


def audio_of(
    generator: Generator, codec: AudioCodec, tokens: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Waveforms, float [batch, channels, samples], and the samples of each item, int64 [batch].

    Args:
        generator: that drew the tokens.
        codec: that it was trained with; see `check_codec`.
        tokens: int64 [batch, positions, groups].
        mask: bool [batch, positions], which positions the items have; all if None. Waveforms are
            zero behind the end of their item.

    Raises:
        ValueError: they are not what the codec decodes.
    """
    if not generator.vocab or codec.segments is not None:
        raise ValueError(f"{codec.name} does not decode the tokens of {generator.name} alone")
    record = codec.tokens(tokens, mask)
    lengths = record.mask.sum(1) * codec.hop_length
    return codec.decode(record._replace(lengths=lengths)), lengths


def tokens_of(generator: Generator, codec: ImageCodec, images: Tensor) -> Tensor:
    """What a generator would have to draw for these images, [batch, positions, width].

    Args:
        generator: of such tokens.
        codec: that it was trained with.
        images: float [batch, 3, height, width], in [-1, 1].

    Raises:
        ValueError: the codec does not take the images, or they have other numbers of tokens.
    """
    ids = codec.encode(images).ids
    if ids.shape[1] != generator.positions:
        raise ValueError(f"{generator.name} draws {generator.positions} tokens, not {ids.shape[1]}")
    with torch.no_grad():
        return ids if generator.vocab else codec.quantizer.decode_ids(ids)
