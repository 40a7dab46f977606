"""Orders: which tokens are learned and drawn when, and what they may see."""

from typing import TYPE_CHECKING

from intaglio.codecs.lazy import lazy_names

if TYPE_CHECKING:
    from .base import DecodingState as DecodingState
    from .base import Order as Order
    from .base import PartialSequence as PartialSequence
    from .base import Predictions as Predictions
    from .base import Request as Request
    from .base import Step as Step
    from .cells import CellOrder as CellOrder
    from .masked import MaskedOrder as MaskedOrder
    from .permuted import PermutedOrder as PermutedOrder
    from .raster import RasterOrder as RasterOrder
    from .scales import ScaleOrder as ScaleOrder
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
