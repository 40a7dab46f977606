"""EnCodec (Défossez et al., TMLR 2023): 24 kHz causal mono, and 48 kHz stereo in segments.

Layers and sizes are the release's, 14.9 million parameters. Dead codes stay replaced here (in the
release the running means undo it); a code is dead below a tenth of the mean count, and of the
release's count of 2. The commitment reaches every level.
"""

from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.decoders.seanet import SEANetDecoder
from intaglio.codecs.encoders.seanet import SEANetEncoder
from intaglio.codecs.layers.conv1d import Norm
from intaglio.codecs.quantizers.residual import ResidualQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer

DIM = 128
STRIDES = (2, 4, 5, 8)
DEPTHS = {24_000: (2, 4, 8, 16, 32), 48_000: (2, 4, 8, 16)}  # up to 24 kbit/s


def encodec(sample_rate: int = 24_000, codebook_size: int = 1024) -> AudioCodec:
    """Build the codec with fresh weights.

    Args:
        sample_rate: 24,000 (mono, 75 positions a second, 32 levels of 0.75 kbit/s) or 48,000
            (stereo, 150 positions a second, 16 levels of 1.5 kbit/s; segments of one second that
            overlap by 1 %, each divided by its loudness).
        codebook_size: codes of each level.

    Raises:
        ValueError: another rate.
    """
    if sample_rate not in DEPTHS:
        raise ValueError(f"EnCodec's sample_rate is 24000 or 48000, not {sample_rate}")
    stereo = sample_rate == 48_000
    channels = 2 if stereo else 1
    norm: Norm = "group" if stereo else "weight"
    depths = DEPTHS[sample_rate]
    levels = [
        VectorQuantizer(DIM, codebook_size, decay=0.99, kmeans_iterations=50, dead_below=2)
        for _ in range(max(depths))
    ]
    return AudioCodec(
        encoder=SEANetEncoder(DIM, STRIDES, channels=channels, causal=not stereo, norm=norm),
        quantizer=ResidualQuantizer(levels, dropout=1.0, depths=depths, one_depth=True),
        decoder=SEANetDecoder(DIM, STRIDES, channels=channels, causal=not stereo, norm=norm),
        sample_rate=sample_rate,
        channels=channels,
        name="encodec",
        normalise=stereo,
        segment=48_000 if stereo else None,
        overlap=480 if stereo else 0,
    )
