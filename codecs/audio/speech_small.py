"""speech_small: WavTokenizer's design at a size that two CPU cores train in minutes, 16 kHz speech.

Our own system (2026). It differs from WavTokenizer (Ji et al., 2025) in size, in an encoder that
sees the magnitudes of a spectrogram instead of the waveform, which costs a CPU much less a
parameter, and in scalar quantization (FSQ), which has no codebook to start or to revive.
"""

from collections.abc import Sequence

from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.decoders.vocos import VocosDecoder
from intaglio.codecs.encoders.spectral import SpectralEncoder
from intaglio.codecs.quantizers.base import Quantizer
from intaglio.codecs.quantizers.fsq import FSQ


def speech_small(
    levels: Sequence[int] = (7, 5, 5, 5, 5),
    *,
    quantizer: Quantizer | None = None,
    causal: bool = False,
) -> AudioCodec:
    """Build the codec with fresh weights: 62.5 tokens a second, 0.76 kbit/s with 4,375 codes.

    Args:
        levels: levels of each dimension of a code; their product is the codebook size.
        quantizer: of latents of 128 channels, instead of the one with these levels.
        causal: whether to look at nothing that comes later, and to leave out the attention to the
            whole signal, so that it can be streamed with a latency of 40 ms.
    """
    return AudioCodec(
        encoder=SpectralEncoder(
            dim=128, frame_hop=128, strides=(2,), final_norm=True, causal=causal
        ),
        quantizer=quantizer or FSQ(128, levels),
        decoder=VocosDecoder(
            dim=128,
            width=256,
            intermediate=768,
            num_layers=6,
            hop_length=256,
            n_fft=1024,
            dropout=0.0,
            attention=not causal,
            causal=causal,
        ),
        sample_rate=16_000,
        name="speech_small",
    )
