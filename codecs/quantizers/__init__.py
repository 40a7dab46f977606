"""Quantizers: latents to ids and back."""

from typing import TYPE_CHECKING

from intaglio.codecs.lazy import lazy_names

if TYPE_CHECKING:
    from .base import Quantized as Quantized
    from .base import Quantizer as Quantizer
    from .binary import BinaryQuantizer as BinaryQuantizer
    from .codebook import Codebook as Codebook
    from .continuous import ContinuousBottleneck as ContinuousBottleneck
    from .continuous import IdentityBottleneck as IdentityBottleneck
    from .continuous import KLBottleneck as KLBottleneck
    from .dimensionwise import DimensionwiseQuantizer as DimensionwiseQuantizer
    from .dual import DualQuantizer as DualQuantizer
    from .factorized import FactorizedVectorQuantizer as FactorizedVectorQuantizer
    from .fsq import FSQ as FSQ
    from .ibq import IndexBackpropagationQuantizer as IndexBackpropagationQuantizer
    from .multiscale import MultiScaleQuantizer as MultiScaleQuantizer
    from .perturbation import Perturbation as Perturbation
    from .post_training import PostTrainingQuantizer as PostTrainingQuantizer
    from .product import ProductQuantizer as ProductQuantizer
    from .regrouped import RegroupedQuantizer as RegroupedQuantizer
    from .residual import ResidualQuantizer as ResidualQuantizer
    from .residual_fsq import ResidualFSQ as ResidualFSQ
    from .split import SplitQuantizer as SplitQuantizer
    from .vq import VectorQuantizer as VectorQuantizer
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
