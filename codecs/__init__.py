"""Discrete codecs: parts by kind, published systems by name, and the contract they keep."""

from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.bundle import save
from intaglio.codecs.codec import Codec, Reconstruction
from intaglio.codecs.image_codec import ImageCodec
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
    "save",
]
