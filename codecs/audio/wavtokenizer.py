"""WavTokenizer (Ji et al., ICLR 2025): one codebook, 40 or 75 tokens a second, 24 kHz.

Layers and sizes are the authors' release's, 71.8 million parameters at 75 tokens a second. The
release also stores an EnCodec decoder of 8.8 million parameters that is never called; it is left
out. Dead codes stay replaced here (in the release the running means undo it); a code is dead below
a tenth of the mean count, and of the release's count of 2, which replaces living codes in small
batches. K-means runs in training only.
"""

from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.decoders.vocos import VocosDecoder
from intaglio.codecs.encoders.seanet import SEANetEncoder
from intaglio.codecs.quantizers.vq import VectorQuantizer


def wavtokenizer(tokens_per_second: int = 75, codebook_size: int = 4096) -> AudioCodec:
    """Build the codec with fresh weights.

    Args:
        tokens_per_second: 40 (0.48 kbit/s) or 75 (0.9 kbit/s).
        codebook_size: number of codes.

    Raises:
        ValueError: another rate.
    """
    strides = {75: (2, 4, 5, 8), 40: (4, 5, 5, 6)}.get(tokens_per_second)
    if strides is None:
        raise ValueError(f"tokens_per_second is 40 or 75, not {tokens_per_second}")
    hop_length = 24_000 // tokens_per_second
    return AudioCodec(
        encoder=SEANetEncoder(dim=512, strides=strides, width=32, lstm_layers=2),
        quantizer=VectorQuantizer(
            512, codebook_size, decay=0.99, kmeans_iterations=200, dead_below=2
        ),
        decoder=VocosDecoder(
            dim=512,
            width=768,
            intermediate=2304,
            num_layers=12,
            hop_length=hop_length,
            n_fft=4 * hop_length,
            conditions=4,
        ),
        sample_rate=24_000,
        name="wavtokenizer",
    )
