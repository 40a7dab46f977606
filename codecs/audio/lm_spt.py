"""LM-SPT (Jo et al., IEEE/ACM TASLP 2026; arXiv 2506.16738): 24 kHz speech whose first level is
what is said.

Two of DAC's encoders, one codebook of the latents of the first, seven of what these leave of the
second's, and DAC's decoder. `ResynthesisLoss` gives the first level its meaning: a light decoder of
its own resynthesises speech from it alone, and a frozen recogniser has to hear the same in both.

Layers and sizes are the release's, which is at 12.5 positions a second. Deviations: it has no
rates of 25 and 6.25 Hz, so that these take its layers with another last stride, and the codebooks
of the paper's first version, whose layers are others; the semantic values that the acoustic levels
begin from send no gradient back; the light decoder is part of the loss, not of the codec.
"""

from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.decoders.base import AudioDecoder
from intaglio.codecs.decoders.dac import DACDecoder
from intaglio.codecs.encoders.dac import DACEncoder
from intaglio.codecs.encoders.dual import DualEncoder
from intaglio.codecs.quantizers.dual import DualQuantizer
from intaglio.codecs.quantizers.factorized import FactorizedVectorQuantizer
from intaglio.codecs.quantizers.residual import ResidualQuantizer

DIM = 1024
ACOUSTIC = 7  # levels

# positions a second: strides at 24 kHz, codes of the semantic and of an acoustic level, strides of
# the light decoder at 16 kHz
RATES = {
    25.0: ((4, 5, 6, 8), (1024, 1024), (4, 5, 4, 8)),
    12.5: ((4, 5, 6, 8, 2), (16_384, 4096), (4, 5, 8, 8)),
    6.25: ((4, 5, 6, 8, 4), (4096, 4096), (5, 8, 8, 8)),
}


def lm_spt(frame_rate: float = 12.5, *, causal: bool = False) -> AudioCodec:
    """Build the codec with fresh weights: 66 to 82 million parameters, 8 levels.

    Args:
        frame_rate: positions a second: 25 (2 kbit/s), 12.5 (1.2 kbit/s) or 6.25 (0.6 kbit/s).
        causal: whether nothing that comes later is seen, so that it can be streamed.

    Raises:
        ValueError: another rate.
    """
    strides, (semantic, acoustic), _ = RATES[checked(frame_rate)]
    levels = [FactorizedVectorQuantizer(DIM, acoustic) for _ in range(ACOUSTIC)]
    return AudioCodec(
        encoder=DualEncoder(
            *(DACEncoder(DIM, strides, width=32, causal=causal) for _ in range(2)),
        ),
        quantizer=DualQuantizer(
            FactorizedVectorQuantizer(DIM, semantic),
            ResidualQuantizer(levels, dropout=0.5, through_levels=True),
        ),
        decoder=DACDecoder(DIM, strides, width=1536, causal=causal),
        sample_rate=24_000,
        name="lm_spt",
    )


def lm_spt_resynthesis(frame_rate: float = 12.5) -> AudioDecoder:
    """Build the light decoder from semantic values to 16 kHz, for `ResynthesisLoss`.

    Args:
        frame_rate: that of the codec.

    Raises:
        ValueError: another rate.
    """
    return DACDecoder(DIM, RATES[checked(frame_rate)][2], width=128)


def checked(frame_rate: float) -> float:
    """The rate, or ValueError if it is none of LM-SPT's."""
    if frame_rate not in RATES:
        known = ", ".join(f"{rate:g}" for rate in RATES)
        raise ValueError(f"LM-SPT's frame_rate is one of {known}, not {frame_rate:g}")
    return frame_rate
