"""VAR's multi-scale tokenizer (Tian et al., 2024): ten grids from 1 × 1 to 16 × 16, 680 tokens.

Each scale quantizes what the coarser ones left of the latents.
"""

from typing import Literal

from intaglio.codecs.decoders.convnet2d import ConvDecoder
from intaglio.codecs.encoders.convnet2d import ConvEncoder
from intaglio.codecs.image.image_small import small_grid_codec
from intaglio.codecs.image_codec import ImageCodec
from intaglio.codecs.quantizers.multiscale import MultiScaleQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer

CODE = 32
WIDTH = 160
SCALES = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
SMALL_SCALES = (1, 2, 3, 4, 6, 8)


def var_quantizer(
    codebook_size: int = 4096, size: Literal["base", "small"] = "base"
) -> MultiScaleQuantizer:
    """Build the codec's quantizer with fresh weights; arguments as of `var_tokenizer`."""
    if size == "small":
        return MultiScaleQuantizer(VectorQuantizer(16, codebook_size), SMALL_SCALES)
    inner = VectorQuantizer(
        CODE, codebook_size, update="gradient", kmeans_iterations=0, dead_below=0
    )
    return MultiScaleQuantizer(inner, SCALES)


def var_tokenizer(codebook_size: int = 4096, size: Literal["base", "small"] = "base") -> ImageCodec:
    """Build the codec with fresh weights.

    Args:
        codebook_size: codes, shared by all scales.
        size: ``base`` as published, for 256 pixels, or ``small``, for 64, with six scales up to
            8 × 8 and a codebook kept by running means.
    """
    quantizer = var_quantizer(codebook_size, size)
    if size == "small":
        return small_grid_codec(quantizer, name="var_tokenizer")
    return ImageCodec(
        ConvEncoder(CODE, width=WIDTH),
        quantizer,
        ConvDecoder(CODE, width=WIDTH),
        image_size=256,
        name="var_tokenizer",
    )
