"""Samplers: how a generator's tokens are drawn."""

from typing import TYPE_CHECKING

from intaglio.codecs.lazy import lazy_names

if TYPE_CHECKING:
    from .acceptance.continuous import MixtureRejection as MixtureRejection
    from .acceptance.continuous import ReflectionCoupling as ReflectionCoupling
    from .acceptance.exact import GumbelMatch as GumbelMatch
    from .acceptance.exact import ModifiedRejection as ModifiedRejection
    from .acceptance.grouped import CoarseGrained as CoarseGrained
    from .acceptance.grouped import Grouped as Grouped
    from .acceptance.multi_draft import KSeq as KSeq
    from .acceptance.multi_draft import RecursiveRejection as RecursiveRejection
    from .acceptance.multi_draft import SampleMatch as SampleMatch
    from .acceptance.neighbours import LatentNeighbour as LatentNeighbour
    from .acceptance.relaxed import Annealed as Annealed
    from .acceptance.relaxed import TVBudget as TVBudget
    from .block_refinement import BlockRefinement as BlockRefinement
    from .constrained import AllowedIds as AllowedIds
    from .constrained import CheckedIds as CheckedIds
    from .constrained import ConstrainedSampler as ConstrainedSampler
    from .drafters.adjacency import AdjacencyDrafter as AdjacencyDrafter
    from .drafters.any_order import AnyOrderDrafter as AnyOrderDrafter
    from .drafters.jacobi import JacobiDrafter as JacobiDrafter
    from .drafters.model import ModelDrafter as ModelDrafter
    from .drafters.vectors import VectorModelDrafter as VectorModelDrafter
    from .sampler import Event as Event
    from .sampler import Sampler as Sampler
    from .speculative import SpeculativeSampler as SpeculativeSampler
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
