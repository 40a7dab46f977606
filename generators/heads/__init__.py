"""Heads: the distribution of a token, given the backbone's output at its position."""

from typing import TYPE_CHECKING

from intaglio.codecs.lazy import lazy_names

if TYPE_CHECKING:
    from .base import Head as Head
    from .base import SamplingOptions as SamplingOptions
    from .categorical import CategoricalHead as CategoricalHead
    from .depth import DepthHead as DepthHead
    from .diffusion import DiffusionHead as DiffusionHead
    from .field import FieldHead as FieldHead
    from .flow import FlowHead as FlowHead
    from .fourier import FourierHead as FourierHead
    from .gaussian import EvidentialHead as EvidentialHead
    from .gaussian import GaussianHead as GaussianHead
    from .mixture import MixtureHead as MixtureHead
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
