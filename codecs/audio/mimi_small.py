"""mimi_small: Mimi's layers at a size that two CPU cores train, 16 kHz speech.

Our own system (2026): a third of Mimi's sample rate less, an eighth of its channels and two of its
eight blocks; the rate of the tokens is the same, 12.5 positions a second.
"""

from intaglio.codecs.audio.mimi import bottleneck_codec
from intaglio.codecs.audio_codec import AudioCodec


def mimi_small(levels: int = 8, codebook_size: int = 1024) -> AudioCodec:
    """Build the codec with fresh weights: 2.6 million parameters, 1 kbit/s, 80 ms of latency.

    Args:
        levels: one semantic and the acoustic ones.
        codebook_size: codes of each level.

    Raises:
        ValueError: fewer than 2 levels.
    """
    return bottleneck_codec(
        "mimi_small",
        levels,
        codebook_size,
        strides=(4, 4, 5, 8),
        dim=128,
        width=16,
        code=64,
        depth=2,
        sample_rate=16_000,
    )
