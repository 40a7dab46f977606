"""Open-MAGVIT2 (Luo et al., 2024): 18 signs a position, a codebook of 262,144 without lookup.

115 million parameters. The published blocks and sizes; MAGVIT-v2 itself is Yu et al. (2024).
"""

from typing import Literal

from intaglio.codecs.decoders.convnet2d import ConvDecoder
from intaglio.codecs.encoders.convnet2d import ConvEncoder
from intaglio.codecs.image.image_small import small_grid_codec
from intaglio.codecs.image_codec import ImageCodec
from intaglio.codecs.quantizers.binary import BinaryQuantizer

MULTIPLIERS = {16: (1, 1, 2, 2, 4), 8: (1, 2, 2, 4)}


def magvit2(
    downsample: int = 16,
    bits: int = 18,
    size: Literal["base", "small"] = "base",
    log_floor: float = 0.0,
) -> ImageCodec:
    """Build the codec with fresh weights.

    Args:
        downsample: pixels of a position's side, 16 or 8; of the small size always 8.
        bits: of a position; 10 suit the small size.
        size: ``base`` as published, for 256 pixels, or ``small``, for 64, which trains on a CPU.
        log_floor: of the entropy loss; the release trains with 1e-5, see `BinaryQuantizer`.

    Raises:
        ValueError: another downsampling.
    """
    if size == "small":
        quantizer = BinaryQuantizer(bits, bits, temperature=1.0, log_floor=log_floor)
        return small_grid_codec(quantizer, name="magvit2", style_norms=True)
    if downsample not in MULTIPLIERS:
        raise ValueError(f"MAGVIT2's downsample is 16 or 8, not {downsample}")
    multipliers = MULTIPLIERS[downsample]
    return ImageCodec(
        ConvEncoder(bits, multipliers=multipliers, blocks=4, style="magvit2"),
        BinaryQuantizer(bits, bits, log_floor=log_floor),
        ConvDecoder(bits, multipliers=multipliers, blocks=4, style="magvit2"),
        image_size=256,
        name="magvit2",
    )
