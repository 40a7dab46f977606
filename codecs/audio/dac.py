"""DAC, the Descript Audio Codec (Kumar et al., NeurIPS 2023): 44.1, 24 or 16 kHz, any mono sound.

Layers and sizes are the release's, 74 to 77 million parameters. Every position gives a whole hop of
samples (the release loses 8 samples at the end at 24 and 16 kHz), and a level's residue sends no
gradient to the levels before.
"""

from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.decoders.dac import DACDecoder
from intaglio.codecs.encoders.dac import DACEncoder
from intaglio.codecs.quantizers.factorized import FactorizedVectorQuantizer
from intaglio.codecs.quantizers.residual import ResidualQuantizer

DIM = 1024


# sample rate: strides, levels
SIZES = {
    44_100: ((2, 4, 8, 8), 9),
    24_000: ((2, 4, 5, 8), 32),
    16_000: ((2, 4, 5, 8), 12),
}


def dac(sample_rate: int = 44_100, codebook_size: int = 1024) -> AudioCodec:
    """Build the codec with fresh weights.

    Args:
        sample_rate: 44,100 (86 positions a second, 9 levels, 7.8 kbit/s), 24,000 (75 and 32,
            24 kbit/s) or 16,000 (50 and 12, 6 kbit/s).
        codebook_size: codes of each level.

    Raises:
        ValueError: another rate.
    """
    if sample_rate not in SIZES:
        raise ValueError(f"DAC's sample_rate is one of {', '.join(map(str, SIZES))}")
    strides, depth = SIZES[sample_rate]
    levels = [FactorizedVectorQuantizer(DIM, codebook_size, codebook_dim=8) for _ in range(depth)]
    return AudioCodec(
        encoder=DACEncoder(DIM, strides, width=64),
        quantizer=ResidualQuantizer(levels, dropout=0.5, through_levels=True),
        decoder=DACDecoder(DIM, strides, width=1536),
        sample_rate=sample_rate,
        name="dac",
    )
