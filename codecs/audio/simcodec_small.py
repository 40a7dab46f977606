"""simcodec_small: SimCodec's design at a size that two CPU cores train, 16 kHz speech.

Our own sizes (2026): a quarter of the channels, and blocks of two kernels instead of three.
"""

from intaglio.codecs.audio.simcodec import hifigan_codec
from intaglio.codecs.audio_codec import AudioCodec


def simcodec_small(frame_rate: int = 50, *, group_batches: int = 2000) -> AudioCodec:
    """Build the codec with fresh weights: 0.65 kbit/s at 50 tokens a second, 1.3 at 100.

    Args:
        frame_rate: tokens a second, 50 or 100.
        group_batches: training batches before the two groups become one codebook.

    Raises:
        ValueError: another rate, or no batches.
    """
    return hifigan_codec(
        "simcodec_small",
        frame_rate,
        group_batches,
        dim=128,
        encoder_width=8,
        decoder_width=128,
        kernels=(3, 7),
    )
