"""What drawing needs below the heads: caches, counter-based random numbers, logits."""

from typing import TYPE_CHECKING

from intaglio.codecs.lazy import lazy_names

if TYPE_CHECKING:
    from .counter_rng import Ahead as Ahead
    from .counter_rng import Draws as Draws
    from .counter_rng import Role as Role
    from .kv_cache import KVCache as KVCache
    from .logits import Warp as Warp
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
