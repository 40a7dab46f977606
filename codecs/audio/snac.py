"""SNAC (Siuzdak, Grötschla and Lanzendörfer, 2024): levels that tick at different rates.

The coarsest level has one token for the time in which the finest has four or eight; a position of
the tokens is one tick of the coarsest, with all tokens under it as groups. Layers and sizes are the
release's. The last window of local attention may be shorter here, so a signal is filled up to whole
positions only; the decoder's noise is fixed outside training.
"""

from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.decoders.dac import DACDecoder
from intaglio.codecs.encoders.dac import DACEncoder
from intaglio.codecs.quantizers.factorized import FactorizedVectorQuantizer
from intaglio.codecs.quantizers.residual import ResidualQuantizer

# sample rate: strides, strides of the levels, width, width of the decoder, window of attention
SIZES: dict[int, tuple[tuple[int, ...], tuple[int, ...], int, int, int | None]] = {
    24_000: ((2, 4, 8, 8), (4, 2, 1), 48, 1024, None),
    32_000: ((2, 3, 8, 8), (8, 4, 2, 1), 64, 1536, 32),
    44_100: ((2, 3, 8, 8), (8, 4, 2, 1), 64, 1536, 32),
}


def snac(sample_rate: int = 24_000, codebook_size: int = 4096) -> AudioCodec:
    """Build the codec with fresh weights.

    Args:
        sample_rate: 24,000 (speech, 0.98 kbit/s), 32,000 (1.9 kbit/s) or 44,100 (music, levels at
            14, 29, 57 and 115 tokens a second, 2.6 kbit/s).
        codebook_size: codes of each level.

    Raises:
        ValueError: another rate.
    """
    if sample_rate not in SIZES:
        raise ValueError(f"SNAC's sample_rate is one of {', '.join(map(str, SIZES))}")
    strides, level_strides, width, decoder_width, window = SIZES[sample_rate]
    dim = width * 2 ** len(strides)
    levels = [
        FactorizedVectorQuantizer(dim, codebook_size, codebook_dim=8, stride=stride)
        for stride in level_strides
    ]
    return AudioCodec(
        encoder=DACEncoder(
            dim, strides, width=width, multiple=level_strides[0], depthwise=True, window=window
        ),
        quantizer=ResidualQuantizer(levels, through_levels=True),
        decoder=DACDecoder(
            dim, strides, width=decoder_width, depthwise=True, window=window, noise=True
        ),
        sample_rate=sample_rate,
        name="snac",
    )
