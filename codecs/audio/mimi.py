"""Mimi (Défossez et al., 2024): 24 kHz speech at 12.5 positions a second, causal.

The codec of Moshi: SEANet without recurrent layers, a transformer on either side of the quantizer,
and one semantic level next to up to 31 acoustic ones. Layers and sizes are the release's, 79.3
million parameters. Dead codes are replaced as elsewhere in this package, by their share of the mean
count, which is also the release's rule.
"""

from collections.abc import Sequence
from typing import Any

from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.decoders.bottleneck import BottleneckDecoder
from intaglio.codecs.decoders.seanet import SEANetDecoder
from intaglio.codecs.encoders.bottleneck import BottleneckEncoder
from intaglio.codecs.encoders.seanet import SEANetEncoder
from intaglio.codecs.quantizers.residual import ResidualQuantizer
from intaglio.codecs.quantizers.split import SplitQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer

WINDOW = 250  # latents of 25 Hz: ten seconds


def mimi(levels: int = 32, codebook_size: int = 2048) -> AudioCodec:
    """Build the codec with fresh weights: 80 ms of latency.

    Args:
        levels: one semantic and the acoustic ones; 8 (1.1 kbit/s, as Moshi uses it) to 32 (4.4
            kbit/s). A codec of 32 also codes with its first 8: ``encode(x, levels=8)``.
        codebook_size: codes of each level.

    Raises:
        ValueError: fewer than 2 levels.
    """
    return bottleneck_codec(
        "mimi", levels, codebook_size, strides=(4, 5, 6, 8), dim=512, width=64, code=256, depth=8
    )


def bottleneck_codec(
    name: str,
    levels: int,
    codebook_size: int,
    *,
    strides: Sequence[int],
    dim: int,
    width: int,
    code: int,
    depth: int,
    sample_rate: int = 24_000,
) -> AudioCodec:
    """Build a codec of Mimi's layers in any size.

    Args:
        name: of the system.
        levels: one semantic and the acoustic ones.
        codebook_size: codes of each level.
        strides: of SEANet; the bottleneck halves the rate once more.
        dim: size of a latent.
        width: channels of SEANet at the rate of the waveform.
        code: size of a code.
        depth: blocks of either transformer, of 8 heads.
        sample_rate: samples per second.

    Raises:
        ValueError: fewer than 2 levels.
    """
    if levels < 2:
        raise ValueError(f"{name} has a semantic and at least one acoustic level, not {levels}")
    layers: dict[str, Any] = {
        "width": width,
        "lstm_layers": 0,
        "causal": True,
        "pad_mode": "constant",
        "true_skip": True,
        "norm": "none",
        "last_kernel_size": 3,
    }
    books = [
        VectorQuantizer(code, codebook_size, decay=0.99, kmeans_iterations=50, dead_below=2)
        for _ in range(levels)
    ]
    return AudioCodec(
        encoder=BottleneckEncoder(
            SEANetEncoder(dim, strides, **layers), depth=depth, window=WINDOW
        ),
        quantizer=SplitQuantizer(
            dim,
            ResidualQuantizer(books[:1]),
            ResidualQuantizer(books[1:], dropout=1.0),
            bypass=0.5,
        ),
        decoder=BottleneckDecoder(
            SEANetDecoder(dim, strides, **layers), depth=depth, window=WINDOW
        ),
        sample_rate=sample_rate,
        name=name,
    )
