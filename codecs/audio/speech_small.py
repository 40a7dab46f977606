"""speech_small: WavTokenizer's design at a size that two CPU cores train in minutes, 16 kHz speech.

Our own system (2026). It differs from WavTokenizer (Ji et al., 2025) in size, in strides that begin
with a reduction by four, and in having no recurrent layers.
"""

from intaglio.codecs.codec import AudioCodec
from intaglio.codecs.decoders.vocos import VocosDecoder
from intaglio.codecs.encoders.seanet import SEANetEncoder
from intaglio.codecs.quantizers.vq import VectorQuantizer


def speech_small(codebook_size: int = 1024) -> AudioCodec:
    """Build the codec with fresh weights: 80 tokens a second, 0.8 kbit/s with 1,024 codes.

    Args:
        codebook_size: number of codes.
    """
    return AudioCodec(
        encoder=SEANetEncoder(dim=128, strides=(4, 5, 5, 2), width=8, lstm_layers=0),
        quantizer=VectorQuantizer(128, codebook_size, kmeans_iterations=20, dead_below=0.1),
        decoder=VocosDecoder(
            dim=128,
            width=256,
            intermediate=768,
            num_layers=6,
            hop_length=200,
            n_fft=800,
            dropout=0.0,
        ),
        sample_rate=16_000,
        name="speech_small",
    )
