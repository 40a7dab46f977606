"""VAR's multi-scale tokenizer (Tian et al., 2024): ten grids from 1 × 1 to 16 × 16, 680 tokens.

Each scale quantizes what the coarser ones left of the latents.
"""

from typing import Literal

from intaglio.codecs.decoders.convnet2d import ConvDecoder
from intaglio.codecs.encoders.convnet2d import ConvEncoder
from intaglio.codecs.image.image_small import small_grid_codec
from intaglio.codecs.imagecodec import ImageCodec
from intaglio.codecs.quantizers.multiscale import MultiScaleQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer

CODE = 32
WIDTH = 160
SCALES = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
SMALL_SCALES = (1, 2, 3, 4, 6, 8)


def var_tokenizer(codebook_size: int = 4096, size: Literal["base", "small"] = "base") -> ImageCodec:
    """Build the codec with fresh weights.

    Args:
        codebook_size: codes, shared by all scales.
        size: ``base`` as published, for 256 pixels, or ``small``, for 64, with six scales up to
            8 × 8 and a codebook kept by running means.
    """
    if size == "small":
        inner = VectorQuantizer(16, codebook_size)
        return small_grid_codec(MultiScaleQuantizer(inner, SMALL_SCALES), name="var_tokenizer")
    inner = VectorQuantizer(
        CODE, codebook_size, update="gradient", kmeans_iterations=0, dead_below=0
    )
    return ImageCodec(
        ConvEncoder(CODE, width=WIDTH),
        MultiScaleQuantizer(inner, SCALES),
        ConvDecoder(CODE, width=WIDTH),
        image_size=256,
        name="var_tokenizer",
    )
