"""lm_spt_small: LM-SPT's design at a size that two CPU cores train, 16 kHz speech, causal.

Our own sizes (2026), closer to the layers of the paper's first version (Jo et al., 2025;
arXiv 2506.16738): encoders with a transformer behind them, and Vocos' decoder, with one block where
speech is resynthesised from the semantic level. The encoders see spectrograms, not waveforms, which
costs a CPU less; codes are running means, of which a small training uses more than of learned ones;
and the decoder also learns from the semantic level alone, so that it can decode that level without
the others.
"""

from intaglio.codecs.audio.lm_spt import checked
from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.decoders.base import AudioDecoder
from intaglio.codecs.decoders.bottleneck import BottleneckDecoder
from intaglio.codecs.decoders.vocos import VocosDecoder
from intaglio.codecs.encoders.base import AudioEncoder
from intaglio.codecs.encoders.bottleneck import BottleneckEncoder
from intaglio.codecs.encoders.dual import DualEncoder
from intaglio.codecs.encoders.spectral import SpectralEncoder
from intaglio.codecs.quantizers.dual import DualQuantizer
from intaglio.codecs.quantizers.residual import ResidualQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer

DIM = 128
HOP = 320  # samples: the transformers work at 50 Hz
WINDOW = 250  # latents of 50 Hz: five seconds


def lm_spt_small(
    frame_rate: float = 12.5, *, levels: int = 8, codebook_size: int = 1024
) -> AudioCodec:
    """Build the codec with fresh weights: 4.8 million parameters; 1 kbit/s at 12.5 Hz.

    Args:
        frame_rate: positions a second: 25, 12.5 or 6.25.
        levels: one semantic and the acoustic ones.
        codebook_size: codes of each level.

    Raises:
        ValueError: another rate, or fewer than 2 levels.
    """
    stride = round(16_000 / HOP / checked(frame_rate))
    if levels < 2:
        raise ValueError(
            f"lm_spt_small has a semantic and at least one acoustic level, not {levels}"
        )
    books = [VectorQuantizer(DIM, codebook_size, kmeans_iterations=50) for _ in range(levels)]
    return AudioCodec(
        encoder=DualEncoder(_encoder(stride), _encoder(stride)),
        quantizer=DualQuantizer(
            books[0],
            ResidualQuantizer(books[1:], dropout=0.5),
            semantic_only=0.1,
        ),
        decoder=_decoder(stride, width=256, intermediate=768, num_layers=4, depth=2),
        sample_rate=16_000,
        name="lm_spt_small",
    )


def lm_spt_small_resynthesis(frame_rate: float = 12.5) -> AudioDecoder:
    """Build the light decoder from semantic values to 16 kHz, for `ResynthesisLoss`.

    Args:
        frame_rate: that of the codec.

    Raises:
        ValueError: another rate.
    """
    stride = round(16_000 / HOP / checked(frame_rate))
    return _decoder(stride, width=128, intermediate=384, num_layers=1, depth=1)


def _encoder(stride: int) -> AudioEncoder:
    return BottleneckEncoder(
        SpectralEncoder(
            DIM, HOP // 2, (2,), num_layers=(1, 2), width=128, intermediate=384, causal=True
        ),
        stride=stride,
        depth=2,
        heads=4,
        window=WINDOW,
    )


def _decoder(
    stride: int, *, width: int, intermediate: int, num_layers: int, depth: int
) -> AudioDecoder:
    vocos = VocosDecoder(
        DIM,
        width,
        intermediate=intermediate,
        num_layers=num_layers,
        hop_length=HOP,
        n_fft=4 * HOP,
        attention=False,
        causal=True,
    )
    return BottleneckDecoder(vocos, stride=stride, depth=depth, heads=4, window=WINDOW)
