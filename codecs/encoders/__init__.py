"""Encoders: signals to latents."""

from typing import TYPE_CHECKING

from intaglio.codecs.lazy import lazy_names

if TYPE_CHECKING:
    from .base import AudioEncoder as AudioEncoder
    from .base import Encoder as Encoder
    from .base import ImageEncoder as ImageEncoder
    from .bottleneck import BottleneckEncoder as BottleneckEncoder
    from .convnet2d import ConvEncoder as ConvEncoder
    from .dac import DACEncoder as DACEncoder
    from .dual import DualEncoder as DualEncoder
    from .hifigan import HiFiGANEncoder as HiFiGANEncoder
    from .latents import DenseEncoder as DenseEncoder
    from .latents import LatentEncoder as LatentEncoder
    from .recogniser import RecogniserEncoder as RecogniserEncoder
    from .seanet import SEANetEncoder as SEANetEncoder
    from .spectral import SpectralEncoder as SpectralEncoder
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
