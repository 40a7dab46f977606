"""Approximate rules that count the probability of a draft's nearest codes as its own."""

from collections.abc import Sequence

from torch import Tensor

from intaglio.generators.samplers.acceptance.base import Judgement, RejectionRule, ratio
from intaglio.generators.samplers.acceptance.relaxed import at, certain, judged, table_of


class LatentNeighbour(RejectionRule):
    """Approximate: a draft is judged as if it had the probability of its nearest codes as well.

    Neighbours are counted from the nearest on while their probability stays within a bound: an
    absolute one (LANTERN) or one relative to the draft's own probability (LANTERN++). The bound is
    that of one draft. It does not bound the total variation of tokens unless drafts are certain,
    q(x) = 1: with many likely neighbours every draft is kept. The mean excess is that total
    variation.

    Deviation: drafts that are not kept are drawn from the ordinary residual. The published code
    leaves out all neighbours then, and draws any id at all where nothing remains.

    Args:
        neighbours: of the ids of each group of a token, int64 [vocab, count], the nearest first and
            without the id itself; see `nearest_codes`.
        delta: the absolute bound.
        factor: the relative bound (lambda): 2 lets neighbours add as much as the draft has itself.

    Raises:
        ValueError: there are both bounds or none, they are out of range, or an id is its own
            neighbour.
    """

    exact = False

    def __init__(
        self,
        neighbours: Sequence[Tensor],
        *,
        delta: float | None = None,
        factor: float | None = None,
    ) -> None:
        if (delta is None) is (factor is None):
            raise ValueError("neighbours have one bound, delta or factor")
        if (delta is not None and not 0 <= delta <= 1) or (factor is not None and not factor >= 1):
            raise ValueError(f"delta is 0 to 1 and factor 1 or more, not {delta} and {factor}")
        for table in neighbours:
            if bool((table == table.new_tensor(range(len(table))).unsqueeze(-1)).any()):
                raise ValueError("an id is no neighbour of itself")
        self.neighbours, self.delta, self.factor = list(neighbours), delta, factor

    def judge(self, p: Tensor, q: Tensor | None, x: Tensor, *, group: int) -> Judgement:
        """See `RejectionRule.judge`."""
        q = certain(p, x) if q is None else q
        here, there = at(p, x).exp(), at(q, x).exp()
        members = table_of(self.neighbours, group, p)[x]
        masses = p.gather(-1, members).exp()
        bound = here.unsqueeze(-1) * ((self.factor or 1) - 1) + (self.delta or 0)
        counted = masses * (masses.cumsum(-1) <= bound)
        return judged(p, q, x, ratio(here + counted.sum(-1), there))
