"""VQGAN (Esser et al., 2021) as LlamaGen trains it (Sun et al., 2024): one codebook over a grid.

72 million parameters with squares of 16 pixels, 70 with 8. Codes are compared and used as
directions (ViT-VQGAN; Yu et al., 2022).
"""

from typing import Literal

from intaglio.codecs.decoders.convnet2d import ConvDecoder
from intaglio.codecs.encoders.convnet2d import ConvEncoder
from intaglio.codecs.image.image_small import small_grid_codec
from intaglio.codecs.image_codec import ImageCodec
from intaglio.codecs.quantizers.vq import VectorQuantizer

DIM = 256
MULTIPLIERS = {16: (1, 1, 2, 2, 4), 8: (1, 2, 2, 4)}


def vqgan(
    downsample: int = 16, codebook_size: int = 16_384, size: Literal["base", "small"] = "base"
) -> ImageCodec:
    """Build the codec with fresh weights.

    Args:
        downsample: pixels of a position's side, 16 or 8; of the small size always 8.
        codebook_size: number of codes.
        size: ``base`` as published, for 256 pixels, or ``small``, for 64, which trains on a CPU and
            keeps its codebook by running means.

    Raises:
        ValueError: another downsampling.
    """
    if size == "small":
        quantizer = VectorQuantizer(16, codebook_size, cosine=True)
        return small_grid_codec(quantizer, name="vqgan")
    if downsample not in MULTIPLIERS:
        raise ValueError(f"VQGAN's downsample is 16 or 8, not {downsample}")
    multipliers = MULTIPLIERS[downsample]
    return ImageCodec(
        ConvEncoder(DIM, multipliers=multipliers),
        VectorQuantizer(
            DIM,
            codebook_size,
            codebook_dim=8,
            update="gradient",
            cosine=True,
            kmeans_iterations=0,
            dead_below=0,
        ),
        ConvDecoder(DIM, multipliers=multipliers),
        image_size=256,
        name="vqgan",
    )
