"""FlexTok (Bachmann et al., 2025): 1 to 256 ordered tokens; any first ones decode.

A causal encoder over the latents of a frozen autoencoder, FSQ, nested dropout, and a rectified-flow
decoder. Written from the paper and the layout of the released weights; deviation: plain weights
where the release scales learning rates by width (muP), and no alignment with a vision model.
"""

from typing import Literal

from intaglio.codecs.decoders.convnet2d import ConvDecoder
from intaglio.codecs.decoders.flow import FlowDecoder
from intaglio.codecs.decoders.latents import DenseDecoder
from intaglio.codecs.encoders.convnet2d import ConvEncoder
from intaglio.codecs.encoders.latents import DenseEncoder, LatentEncoder
from intaglio.codecs.image.image_small import small_decoder, small_encoder
from intaglio.codecs.image_codec import ImageCodec
from intaglio.codecs.layers.transformer import Transformer
from intaglio.codecs.quantizers.continuous import KLBottleneck
from intaglio.codecs.quantizers.fsq import FSQ

LEVELS = (8, 8, 8, 5, 5, 5)
TOKENS = 256
CHANNELS = 16
DEPTHS = {"d12": (12, 12), "d18": (18, 18), "d18_d28": (18, 28)}


def flextok(
    size: Literal["d12", "d18", "d18_d28", "small"] = "d18",
    autoencoder: ImageCodec | None = None,
    latent_scale: float = 1.0,
) -> ImageCodec:
    """Build the codec with fresh weights.

    Args:
        size: depths of encoder and decoder, both 64 channels wide for each layer, for images of 256
            pixels; ``small`` for 64 pixels and a CPU: 32 tokens by dense layers around
            convolutions, which decode pixels directly.
        autoencoder: continuous codec of 16 channels and squares of 8 pixels, frozen; a fresh one if
            None, to be replaced by trained weights.
        latent_scale: brings the autoencoder's latents to unit variance.

    Raises:
        ValueError: another size, or an autoencoder for the small one.
    """
    if size == "small":
        if autoencoder is not None:
            raise ValueError("the small FlexTok has no autoencoder")
        return _small()
    if size not in DEPTHS:
        raise ValueError(f"FlexTok's size is {', '.join(DEPTHS)} or small, not {size!r}")
    encoder, decoder = DEPTHS[size]
    code = len(LEVELS)
    return ImageCodec(
        LatentEncoder(
            code, _trunk(encoder, streams=0), TOKENS, patch=2, channels=CHANNELS, causal=True
        ),
        FSQ(code, LEVELS),
        FlowDecoder(code, _trunk(decoder, streams=2), TOKENS, patch=2, channels=CHANNELS),
        image_size=256,
        prefixes="powers",
        autoencoder=autoencoder or _autoencoder(),
        latent_scale=latent_scale,
        name="flextok",
    )


def _trunk(depth: int, *, streams: int) -> Transformer:
    return Transformer(
        64 * depth,
        depth,
        depth,
        gated=True,
        bias=False,
        affine=False,
        qk_norm=True,
        streams=streams,
    )


def _autoencoder() -> ImageCodec:
    """SDXL's sizes, with 16 channels."""
    body = (1, 2, 4, 4)
    return ImageCodec(
        ConvEncoder(2 * CHANNELS, multipliers=body, attention=False),
        KLBottleneck(CHANNELS),
        ConvDecoder(CHANNELS, multipliers=body, attention=False, middle_attention=True),
        image_size=256,
        name="autoencoder",
    )


def _small() -> ImageCodec:
    tokens, code = 32, len(LEVELS)
    return ImageCodec(
        DenseEncoder(code, small_encoder(32), tokens, grid=8),
        FSQ(code, LEVELS, standardise=tokens),
        DenseDecoder(code, small_decoder(32), tokens, grid=8),
        image_size=64,
        prefixes="uniform",
        name="flextok",
    )
