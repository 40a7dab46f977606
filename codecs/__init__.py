"""Discrete codecs: parts by kind, published systems by name, and the contract they keep."""

from intaglio.codecs.codec import AudioCodec, Codec, Reconstruction
from intaglio.codecs.imagecodec import ImageCodec
from intaglio.codecs.load import load
from intaglio.codecs.quantizers.base import Quantized
from intaglio.codecs.tokens import Tokens

__all__ = [
    "AudioCodec",
    "Codec",
    "ImageCodec",
    "Quantized",
    "Reconstruction",
    "Tokens",
    "load",
]
