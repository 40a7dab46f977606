"""Samplers: how a generator's tokens are drawn."""

from typing import TYPE_CHECKING

from intaglio.codecs.lazy import lazy_names

if TYPE_CHECKING:
    from .sampler import Event as Event
    from .sampler import Sampler as Sampler
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
