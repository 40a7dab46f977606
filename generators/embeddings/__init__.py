"""Embeddings of tokens for a transformer."""

from typing import TYPE_CHECKING

from intaglio.codecs.lazy import lazy_names

if TYPE_CHECKING:
    from .base import Embedding as Embedding
    from .base import IdEmbedding as IdEmbedding
    from .base import LinearEmbedding as LinearEmbedding
    from .dequantised import DequantisedEmbedding as DequantisedEmbedding
    from .scales import ScaleEmbedding as ScaleEmbedding
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
