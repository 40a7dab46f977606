"""SimCodec, the codec of GenSE (Yao et al., ICLR 2025): one token of 8,192 a frame, 16 kHz speech.

HiFi-GAN's generator and its mirror image around a codebook that two groups become during one
training, after ``group_batches`` of it; see `RegroupedQuantizer`. The release has neither the sizes
of the layers nor how many codes are kept: those here are HiFi-GAN's, and 128 times 64 codes.
"""

from collections.abc import Sequence

from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.decoders.hifigan import HiFiGANDecoder
from intaglio.codecs.encoders.hifigan import HiFiGANEncoder
from intaglio.codecs.layers.residual1d import KERNELS
from intaglio.codecs.quantizers.regrouped import RegroupedQuantizer

STRIDES = {50: (2, 4, 5, 8), 100: (2, 4, 4, 5)}
GROUP_SIZE, KEPT = 1024, (128, 64)


def simcodec(frame_rate: int = 50, *, group_batches: int = 100_000) -> AudioCodec:
    """Build the codec with fresh weights: 0.65 kbit/s at 50 tokens a second, 1.3 at 100.

    Args:
        frame_rate: tokens a second, 50 or 100.
        group_batches: training batches before the two groups become one codebook.

    Raises:
        ValueError: another rate, or no batches.
    """
    return hifigan_codec("simcodec", frame_rate, group_batches)


def hifigan_codec(
    name: str,
    frame_rate: int,
    group_batches: int,
    *,
    dim: int = 512,
    encoder_width: int = 32,
    decoder_width: int = 512,
    kernels: Sequence[int] = KERNELS,
) -> AudioCodec:
    """SimCodec at any size.

    Raises:
        ValueError: see `simcodec`.
    """
    if frame_rate not in STRIDES:
        raise ValueError(f"frame_rate is 50 or 100, not {frame_rate}")
    strides = STRIDES[frame_rate]
    return AudioCodec(
        encoder=HiFiGANEncoder(dim, strides, width=encoder_width, kernels=kernels),
        quantizer=RegroupedQuantizer(
            dim, group_size=GROUP_SIZE, kept=KEPT, group_batches=group_batches
        ),
        decoder=HiFiGANDecoder(dim, strides, width=decoder_width, kernels=kernels),
        sample_rate=16_000,
        name=name,
    )
