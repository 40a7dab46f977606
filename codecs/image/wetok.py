"""WeTok (Zhuang et al., 2025): groups of 8 signs a position, and a decoder that may take noise.

The published blocks and sizes: 4 groups over squares of 16 pixels, or 8 over squares of 8. The
first stage trains without noise; in the second the decoder alone learns on, with noise, which makes
it generative.
"""

from typing import Literal

from intaglio.codecs.decoders.convnet2d import ConvDecoder
from intaglio.codecs.encoders.convnet2d import ConvEncoder
from intaglio.codecs.image.image_small import small_decoder, small_encoder
from intaglio.codecs.image_codec import ImageCodec
from intaglio.codecs.quantizers.binary import BinaryQuantizer

BITS = 8
MULTIPLIERS = {32: (1, 1, 2, 2, 4, 8), 16: (1, 1, 2, 2, 4), 8: (1, 2, 2, 4)}


def wetok(
    groups: int = 4, downsample: int = 16, size: Literal["base", "small"] = "base"
) -> ImageCodec:
    """Build the codec with fresh weights.

    Args:
        groups: of 8 bits; 4 or 8 are published, 2 suit the small size.
        downsample: pixels of a position's side, 32, 16 or 8; of the small size always 8.
        size: ``base`` as published, for 256 pixels, or ``small``, for 64, which trains on a CPU.

    Raises:
        ValueError: another downsampling.
    """
    dim = BITS * groups
    if size == "small":
        return ImageCodec(
            small_encoder(dim, style_norms=True),
            BinaryQuantizer(dim, BITS, groups, temperature=1.0),
            small_decoder(dim, style_norms=True, noise=True),
            image_size=64,
            name="wetok",
        )
    if downsample not in MULTIPLIERS:
        raise ValueError(f"WeTok's downsample is 32, 16 or 8, not {downsample}")
    return ImageCodec(
        ConvEncoder(dim, width=256, multipliers=MULTIPLIERS[downsample], blocks=4, style="magvit2"),
        BinaryQuantizer(dim, BITS, groups),
        ConvDecoder(
            dim,
            width=256,
            multipliers=MULTIPLIERS[downsample],
            blocks=4,
            style="magvit2",
            noise=True,
        ),
        image_size=256,
        name="wetok",
    )
