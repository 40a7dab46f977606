"""Decoders: latents to signals."""

from typing import TYPE_CHECKING

from intaglio.codecs.lazy import lazy_names

if TYPE_CHECKING:
    from .base import AudioDecoder as AudioDecoder
    from .base import Decoder as Decoder
    from .base import Decoding as Decoding
    from .base import ImageDecoder as ImageDecoder
    from .bottleneck import BottleneckDecoder as BottleneckDecoder
    from .convnet2d import ConvDecoder as ConvDecoder
    from .dac import DACDecoder as DACDecoder
    from .flow import FlowDecoder as FlowDecoder
    from .hifigan import HiFiGANDecoder as HiFiGANDecoder
    from .istft import InverseSTFT as InverseSTFT
    from .latents import DenseDecoder as DenseDecoder
    from .latents import LatentDecoder as LatentDecoder
    from .proxy import ProxyDecoder as ProxyDecoder
    from .recogniser import RecogniserDecoder as RecogniserDecoder
    from .seanet import SEANetDecoder as SEANetDecoder
    from .tokens_only import TokensOnly as TokensOnly
    from .vocos import VocosDecoder as VocosDecoder
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
