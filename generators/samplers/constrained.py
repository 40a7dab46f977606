"""Constrained sampling: only ids that a grammar allows, with the weight that this costs.

An item that is drawn among allowed ids has the probability p(item) / weight, where the weight is
the product of the probabilities, at each position, that an allowed id comes next. So weighted items
stand for the generator's own distribution over the items that the grammar allows, and drawing items
anew in proportion to their weights approaches it (importance resampling).
"""

import math
import random
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.generator import Generator
from intaglio.generators.heads.base import SamplingOptions
from intaglio.generators.heads.independent import IndependentHead
from intaglio.generators.inference.counter_rng import Draws, Role, gumbel
from intaglio.generators.inference.logits import PLAIN, Warp, draw
from intaglio.generators.orders.base import DecodingState, PartialSequence, Step
from intaglio.generators.orders.raster import RasterOrder
from intaglio.generators.samplers.sampler import UNGUIDED, Event, Sampler


class Constraint:
    """Base: which ids may come next."""

    def draw(self, log_probs: Tensor, prefix: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Ids that may come next, int64 [batch], and the logarithm of their weight, [batch].

        Args:
            log_probs: [batch, vocab].
            prefix: ids so far, int64 [batch, count].
            draws: random numbers for this position.

        Raises:
            ValueError: no id that may come next has a probability.
        """
        raise NotImplementedError


class AllowedIds(Constraint):
    """For grammars that list what may come next: the other ids get probability 0.

    Args:
        allowed: gives bool [batch, vocab] for ids so far, int64 [batch, count].
    """

    def __init__(self, allowed: Callable[[Tensor], Tensor]) -> None:
        self.allowed = allowed

    def draw(self, log_probs: Tensor, prefix: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """See `Constraint.draw`; the weights are exact."""
        kept = log_probs.masked_fill(~self.allowed(prefix), -torch.inf)
        weights = kept.logsumexp(-1)
        _check(weights.isneginf().nonzero().flatten().tolist(), prefix)
        return draw(kept, draws.keys(Role.TOKEN)[:, 0, 0]), weights


class CheckedIds(Constraint):
    """For tests that take long: an id is drawn and tested, until one passes; none twice.

    The ids are those of `AllowedIds` for the same numbers. The weight is an unbiased estimate:
    of N independent draws up to the second that passes, 1 / (N - 1) is one of the probability to
    pass (Haldane, 1945). Draws of ids that were refused before are counted without being made; so
    this is adaptive weighted rejection sampling (Lipkin et al., 2025) with another estimate.

    Args:
        allows: whether an id may follow ids so far, int64 [count].
    """

    def __init__(self, allows: Callable[[Tensor, int], bool]) -> None:
        self.allows = allows

    def draw(self, log_probs: Tensor, prefix: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """See `Constraint.draw`."""
        keys = [draws._replace(round=turn).keys(Role.TOKEN)[:, 0, 0] for turn in range(2)]
        ids, weights = [], []
        for row, before in enumerate(prefix):
            found = self._tried(log_probs[row], before, [key[row] for key in keys])
            _check([row] if found is None else [], prefix)
            if found is not None:
                ids.append(found[0])
                weights.append(-math.log(found[1] - 1))
        return (
            torch.tensor(ids, device=log_probs.device),
            torch.tensor(weights, dtype=torch.float64, device=log_probs.device),
        )

    def _tried(
        self, log_probs: Tensor, prefix: Tensor, keys: list[Tensor]
    ) -> tuple[int, float] | None:
        """The first id that passes, and the number of draws up to the second; None if none does."""
        known: dict[int, bool] = {}
        probabilities = log_probs.double().exp().tolist()
        refused, count, passed = 0.0, 0.0, []
        for key in keys:
            waits = random.Random(int(key))
            race = log_probs + gumbel(key, len(log_probs))  # in its order nothing is drawn twice
            for id in race.argsort(descending=True, stable=True).tolist():
                if known.get(id) is False:
                    continue
                if not probabilities[id]:
                    return None
                # before an id that was not refused come so many that were
                count += 1 + _failures(refused, waits)
                if id not in known:
                    known[id] = self.allows(prefix, id)
                if known[id]:
                    passed.append(id)
                    break
                refused += probabilities[id]
        return (passed[0], count) if len(passed) == len(keys) else None


class ConstrainedSampler(Sampler):
    """Draws items of which each id is one that a constraint allows.

    For generators that draw one id after the other, row by row; of any length as well.

    Args:
        constraint: which ids may come next.
        guidance: see `Sampler`.
        warp: see `Sampler`.
        positions: see `Sampler`.

    Attributes:
        log_weights: float64 [batch], logarithms of the weights of the last batch; see above. They
            are exact with `AllowedIds`; with `CheckedIds` the weights are unbiased.
    """

    def __init__(
        self,
        constraint: Constraint,
        *,
        guidance: Guidance = UNGUIDED,
        warp: Warp = PLAIN,
        positions: int | None = None,
    ) -> None:
        super().__init__(guidance=guidance, warp=warp, positions=positions)
        self.constraint = constraint
        self.log_weights = torch.zeros(0, dtype=torch.float64)

    def events(
        self,
        generator: Generator,
        condition: Tensor,
        *,
        seed: int | Tensor = 0,
        given: PartialSequence | None = None,
    ) -> Iterator[Event]:
        """See `Sampler.events`.

        Raises:
            ValueError: the generator does not draw one id after the other, row by row; or nothing
                that is allowed has a probability.
        """
        head = generator.head
        if not isinstance(generator.order, RasterOrder) or len(head.vocab) != 1:
            raise ValueError(
                "constraints take a generator that draws one id after the other, row by row; "
                f"{generator.name} does not"
            )
        device = next(generator.parameters()).device
        self.log_weights = torch.zeros(len(condition), dtype=torch.float64, device=device)
        return super().events(generator, condition, seed=seed, given=given)

    def _draw(
        self, generator: Generator, state: DecodingState, step: Step, scale: float | Tensor
    ) -> Tensor:
        hidden, null = state.hidden(step)
        assert isinstance(generator.head, IndependentHead)
        [log_probs] = generator.head.distribution(hidden, SamplingOptions(null, scale, self.warp))
        partial, number = state.partial, step.number
        open_rows = ~partial.given[:, number]
        if state.mask is not None and number:
            open_rows &= state.mask[:, number - 1]
        rows = open_rows.nonzero()[:, 0]
        draws = state.draws(step)
        chosen = Draws(draws.seeds[rows], step.positions)
        ids, weights = self.constraint.draw(
            log_probs[rows, 0], partial.tokens[rows, :number, 0], chosen
        )
        self.log_weights[rows] += weights.double()
        return partial.tokens.new_zeros(len(hidden), 1, 1).index_put((rows,), ids[:, None, None])


def _failures(share: float, numbers: random.Random) -> int:
    """How often something of this probability comes before it does not: a geometric number."""
    if share <= 0:
        return 0
    return math.floor(math.log(1 - numbers.random()) / math.log(min(share, 1 - 1e-12)))


def _check(empty: list[int], prefix: Tensor) -> None:
    if empty:
        raise ValueError(
            f"no id that is allowed at position {prefix.shape[1]} has a probability, in items "
            f"{empty}: ids so far {prefix[empty[0]].tolist()}"
        )
