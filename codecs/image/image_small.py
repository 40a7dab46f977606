"""image_small: a tokenizer of small pictures for machines without a GPU; ours.

One id for every square of 8 pixels. The image is halved before the first convolution, which saves
most of the work.
"""

from collections.abc import Sequence

from intaglio.codecs.decoders.convnet2d import ConvDecoder
from intaglio.codecs.encoders.convnet2d import ConvEncoder
from intaglio.codecs.image_codec import ImageCodec
from intaglio.codecs.quantizers.base import Quantizer
from intaglio.codecs.quantizers.fsq import FSQ

IMAGE_SIZE = 64


def image_small(levels: Sequence[int] = (8, 5, 5, 5)) -> ImageCodec:
    """Build the codec with fresh weights: 64 positions, 638 bits for 64 x 64 pixels.

    Args:
        levels: of the FSQ.
    """
    return small_grid_codec(FSQ(len(levels), levels), name="image_small")


def small_grid_codec(quantizer: Quantizer, *, name: str, style_norms: bool = False) -> ImageCodec:
    """The small body around any quantizer, for comparisons of quantizers.

    Args:
        quantizer: of the latents of 8 x 8 squares.
        name: of the codec.
        style_norms: MAGVIT-v2's blocks, with norms set by the latents, instead of VQGAN's.
    """
    return ImageCodec(
        small_encoder(quantizer.input_dim, style_norms=style_norms),
        quantizer,
        small_decoder(quantizer.dim, style_norms=style_norms),
        image_size=IMAGE_SIZE,
        name=name,
    )


def small_encoder(dim: int, *, style_norms: bool = False) -> ConvEncoder:
    """64 x 64 pixels to 8 x 8 latents of size ``dim``."""
    return ConvEncoder(
        dim,
        width=64,
        multipliers=(1, 2, 2),
        blocks=1,
        style="magvit2" if style_norms else "vqgan",
        attention=False,
        patch=2,
        groups=8,
    )


def small_decoder(dim: int, *, style_norms: bool = False, noise: bool = False) -> ConvDecoder:
    """The way back; with ``noise`` for a later generative stage."""
    return ConvDecoder(
        dim,
        width=64,
        multipliers=(1, 2, 2),
        blocks=1,
        style="magvit2" if style_norms else "vqgan",
        attention=False,
        patch=2,
        groups=8,
        noise=noise,
    )
