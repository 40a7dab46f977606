"""s3_small: S3's design at a size that two CPU cores train, both halves of the recogniser.

Our own sizes (2026). It differs from the second version of S3 (Du et al., 2024) in size, in 80
mels, and in that nothing is taken from a recogniser that was trained before.
"""

from intaglio.codecs.audio.s3 import STRIDES
from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.decoders.recogniser import RecogniserDecoder
from intaglio.codecs.encoders.recogniser import RecogniserEncoder
from intaglio.codecs.quantizers.base import Quantizer
from intaglio.codecs.quantizers.fsq import FSQ

DIM = 192


def s3_small(frame_rate: int = 25, *, quantizer: Quantizer | None = None) -> AudioCodec:
    """Build the codec with fresh weights: 6,561 codes, 0.32 kbit/s at 25 tokens a second.

    Args:
        frame_rate: tokens a second, 25 or 50.
        quantizer: of latents of 192 channels, instead of S3's; an `IdentityBottleneck` leaves the
            recogniser as it is without tokens.

    Raises:
        ValueError: another rate.
    """
    if frame_rate not in STRIDES:
        raise ValueError(f"frame_rate is 25 or 50, not {frame_rate}")
    encoder = RecogniserEncoder(
        DIM, 4, 3, strides=STRIDES[frame_rate], num_mels=80, dropout=0.1, masks=2
    )
    return AudioCodec(
        encoder=encoder,
        quantizer=quantizer or FSQ(DIM, (3,) * 8, margin=-1e-3),
        decoder=RecogniserDecoder(DIM, encoder.hop_length, 4, 3, text_depth=2),
        sample_rate=16_000,
        name="s3_small",
    )
