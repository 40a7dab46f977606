"""Acceptance rules that look at the codec's codebook, by numbers alone."""

from math import inf

from intaglio.codecs import Codec
from intaglio.generators.samplers.acceptance.codes import code_vectors, nearest_codes, overlapping
from intaglio.generators.samplers.acceptance.grouped import CoarseGrained, Grouped
from intaglio.generators.samplers.acceptance.neighbours import LatentNeighbour


def grouped(
    codec: Codec,
    size: int = 10,
    distance: float = inf,
    difference: float = 0.15,
    corrected: bool = True,
    band: float | None = None,
) -> Grouped:
    """GSD+, or GSD as published; see `Grouped`."""
    return Grouped(
        code_vectors(codec.quantizer),
        size=size,
        distance=distance,
        difference=difference,
        corrected=corrected,
        band=band,
    )


def coarse(codec: Codec, groups: int = 100, shared: int = 1) -> CoarseGrained:
    """GSD-C of so many groups, or PCG of groups that overlap; see `overlapping`."""
    if groups < 1 or shared < 1:
        raise ValueError(f"ids have 1 or more groups, not {shared} of {groups}")
    return CoarseGrained(
        [overlapping(one, groups, shared=shared) for one in code_vectors(codec.quantizer)]
    )


def neighbour(
    codec: Codec, count: int = 10, delta: float | None = None, factor: float | None = None
) -> LatentNeighbour:
    """LANTERN with ``delta``, else LANTERN++ with ``factor``; see `LatentNeighbour`."""
    if count < 1:
        raise ValueError(f"an id has 1 or more neighbours, not {count}")
    if delta is None and factor is None:
        factor = 2.0
    tables = [nearest_codes(one, count) for one in code_vectors(codec.quantizer)]
    return LatentNeighbour(tables, delta=delta, factor=factor)
