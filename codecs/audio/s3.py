"""S3: the speech tokenizers of CosyVoice 1, 2 and 3 (Du et al., 2024 and 2025), 16 kHz.

Tokens out of the middle of a speech recogniser: they are trained to tell what is said. There is no
decoder to waveforms. Layers and sizes are those of the released ONNX files, which hold the half up
to the quantizer; to train one, give the other half as ``decoder``. Deviation: an incomplete hop at
the end of a recording is filled up with zeros instead of dropped.
"""

from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.decoders.base import AudioDecoder
from intaglio.codecs.decoders.tokens_only import TokensOnly
from intaglio.codecs.encoders.recogniser import RecogniserEncoder
from intaglio.codecs.quantizers.base import Quantizer
from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.codecs.quantizers.vq import VectorQuantizer

STRIDES = {25: (2, 2), 50: (1, 2)}
DIM = 1280


def s3(
    version: int = 2,
    frame_rate: int = 25,
    *,
    quantizer: Quantizer | None = None,
    decoder: AudioDecoder | None = None,
) -> AudioCodec:
    """Build the codec with fresh weights, 124 million parameters (version 3: 242 million).

    Args:
        version: 1 (one codebook of 4,096 codes on the unit sphere, sines), 2 (8 dimensions of 3
            levels, 6,561 codes, rotary positions and memories) or 3 (12 blocks instead of 6).
        frame_rate: tokens a second, 25 or 50.
        quantizer: of latents of 1,280 channels, instead of the version's.
        decoder: the other half of the recogniser; None for no more than tokens.

    Raises:
        ValueError: another version or rate.
    """
    if version not in (1, 2, 3) or frame_rate not in STRIDES:
        raise ValueError(
            f"version is 1, 2 or 3 and frame_rate 25 or 50, not {version} and {frame_rate}"
        )
    first = version == 1
    encoder = RecogniserEncoder(
        DIM,
        12 if version == 3 else 6,
        20,
        strides=STRIDES[frame_rate],
        rotary=not first,
        memory=0 if first else 31,
        unit_length=first,
    )
    if quantizer is None:
        quantizer = VectorQuantizer(DIM, 4096) if first else FSQ(DIM, (3,) * 8, margin=-1e-3)
    return AudioCodec(
        encoder=encoder,
        quantizer=quantizer,
        decoder=decoder or TokensOnly(DIM, encoder.hop_length),
        sample_rate=16_000,
        name=f"s3 version {version}",
    )
