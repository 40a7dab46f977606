"""TokenBridge (Wang et al., 2025): continuous latents, quantized dimension by dimension afterwards.

A KL autoencoder with squares of 16 pixels and 16 channels (MAR's; Li et al., 2024) is trained; its
latents then become 16 ids of 64 levels a position, by their statistics, without further training.
"""

from typing import Literal

from intaglio.codecs.decoders.convnet2d import ConvDecoder
from intaglio.codecs.encoders.convnet2d import ConvEncoder
from intaglio.codecs.image.image_small import small_grid_codec
from intaglio.codecs.image_codec import ImageCodec
from intaglio.codecs.quantizers.post_training import PostTrainingQuantizer


def tokenbridge(
    channels: int = 16, bits: int = 6, size: Literal["base", "small"] = "base"
) -> ImageCodec:
    """Build the codec with fresh weights.

    Args:
        channels: of the latents, and groups of ids; 8 suit the small size.
        bits: of each channel.
        size: ``base`` as published, for 256 pixels, or ``small``, for 64, with squares of 8 pixels.
    """
    quantizer = PostTrainingQuantizer(channels, bits)
    if size == "small":
        return small_grid_codec(quantizer, name="tokenbridge")
    return ImageCodec(
        ConvEncoder(2 * channels),
        quantizer,
        ConvDecoder(channels, attention=False, middle_attention=True),
        image_size=256,
        name="tokenbridge",
    )
