"""TiTok (Yu et al., 2024): an image as 32 to 128 tokens without positions in it.

Stage 1 learns to predict the tokens of a frozen grid codec, stage 2 tunes both decoders to pixels.
Deviation: the teacher, a frozen MaskGIT VQGAN in the release, is any grid codec of one codebook.
"""

from typing import Literal

from intaglio.codecs.decoders.latents import DenseDecoder, LatentDecoder
from intaglio.codecs.decoders.proxy import ProxyDecoder
from intaglio.codecs.encoders.latents import DenseEncoder, LatentEncoder
from intaglio.codecs.image.image_small import small_decoder, small_encoder
from intaglio.codecs.image.vqgan import vqgan
from intaglio.codecs.image_codec import ImageCodec
from intaglio.codecs.layers.transformer import Transformer
from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.codecs.quantizers.vq import VectorQuantizer

# width, depth, heads, tokens
SIZES = {"S": (512, 8, 8, 128), "B": (768, 12, 12, 64), "L": (1024, 24, 16, 32)}
CODE = 12
CODEBOOK = 4096


def titok(
    size: Literal["S", "B", "L", "small"] = "L", teacher: ImageCodec | None = None
) -> ImageCodec:
    """Build the codec with fresh weights.

    Args:
        size: S-128, B-64 or L-32 for images of 256 pixels; ``small`` for 64 pixels and a CPU: 32
            tokens by dense layers around convolutions, without a teacher.
        teacher: the codec whose tokens stage 1 learns, with squares of 16 pixels; a fresh VQGAN of
            1,024 codes if None, to be replaced by trained weights.

    Raises:
        ValueError: another size, a teacher of other squares, or one for the small size.
    """
    if size == "small":
        if teacher is not None:
            raise ValueError("the small TiTok has no teacher")
        return _small()
    if size not in SIZES:
        raise ValueError(f"TiTok's size is S, B, L or small, not {size!r}")
    teacher = teacher or vqgan(16, 1024)
    if teacher.hop_length != 16:
        raise ValueError(f"TiTok's teacher has squares of 16 pixels, not {teacher.hop_length}")
    width, depth, heads, tokens = SIZES[size]
    body = LatentDecoder(
        CODE,
        Transformer(width, depth, heads),
        tokens,
        patch=1,
        channels=2 * width,
        smooth=False,
    )
    return ImageCodec(
        LatentEncoder(CODE, Transformer(width, depth, heads), tokens),
        VectorQuantizer(
            CODE, CODEBOOK, update="gradient", cosine=True, kmeans_iterations=0, dead_below=0
        ),
        ProxyDecoder(body, teacher, hidden=2 * width),
        image_size=256,
        name="titok",
    )


def _small() -> ImageCodec:
    tokens, levels = 32, (8, 8, 8, 5, 5, 5)
    return ImageCodec(
        DenseEncoder(len(levels), small_encoder(32), tokens, grid=8),
        FSQ(len(levels), levels, standardise=tokens),
        DenseDecoder(len(levels), small_decoder(32), tokens, grid=8),
        image_size=64,
        name="titok",
    )
