"""Speculative sampling: several tokens in one pass of the generator.

A drafter guesses the next tokens of each item; one pass of the target, the generator itself, finds
its distributions at all of them, and a rule keeps the first ones. An exact rule gives the tokens
the same distribution as `Sampler` does.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.generator import Generator
from intaglio.generators.heads.densities import DensityHead
from intaglio.generators.heads.independent import IndependentHead
from intaglio.generators.inference.logits import PLAIN, Warp
from intaglio.generators.orders.base import PartialSequence, Request, Step
from intaglio.generators.orders.permuted import PermutedOrder
from intaglio.generators.orders.raster import RasterOrder, check_beginning
from intaglio.generators.samplers.acceptance.base import AcceptanceRule
from intaglio.generators.samplers.acceptance.exact import GumbelMatch
from intaglio.generators.samplers.adaptive_window import AdaptiveWindow
from intaglio.generators.samplers.drafters.base import Drafter
from intaglio.generators.samplers.drafters.jacobi import JacobiDrafter
from intaglio.generators.samplers.rounds import Rounds, Speculation
from intaglio.generators.samplers.sampler import UNGUIDED, Event, Sampler, seeds_of
from intaglio.generators.samplers.statistics import Ledger, Statistics

WINDOW = 8  # drafts of a round, where the tokens would depend on an adaptive number


class SpeculativeSampler(Sampler):
    """Draws items of a generator that goes row by row, several tokens in a pass.

    Args:
        drafter: guesses the next tokens; `JacobiDrafter` if None.
        rule: keeps some of them; `GumbelMatch` if None, which draws exactly what `Sampler` draws.
        window: drafts of an item in a round, 0 draws one token in a pass; or an `AdaptiveWindow`.
            If None, an adaptive one with a rule that is ``pathwise``, whose tokens do not depend on
            it, else 8.
        guidance: see `Sampler`; the scale of a token is that of its position.
        warp: see `Sampler`.
        positions: see `Sampler`.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        *,
        drafter: Drafter | None = None,
        rule: AcceptanceRule | None = None,
        window: int | AdaptiveWindow | None = None,
        guidance: Guidance = UNGUIDED,
        warp: Warp = PLAIN,
        positions: int | None = None,
    ) -> None:
        super().__init__(guidance=guidance, warp=warp, positions=positions)
        if isinstance(window, int) and window < 0:
            raise ValueError(f"a window holds 0 or more drafts, got {window}")
        self.drafter, self.rule = drafter or JacobiDrafter(), rule or GumbelMatch()
        if window is None:
            window = AdaptiveWindow() if self.rule.pathwise else WINDOW
        self.window = window
        self._ledger = Ledger(0, torch.device("cpu"))
        self._idle: Rounds | None = None

    @property
    def statistics(self) -> Statistics:
        """Of the last batch."""
        return self._ledger.total()

    @property
    def item_statistics(self) -> list[Statistics]:
        """See `Sampler.item_statistics`."""
        return self._ledger.items()

    @torch.no_grad()
    def events(
        self,
        generator: Generator,
        condition: Tensor,
        *,
        seed: int | Tensor = 0,
        given: PartialSequence | None = None,
    ) -> Iterator[Event]:
        """Draw a batch round by round; arguments as for `generate`. At least one event comes.

        Raises:
            ValueError: the generator does not draw row by row, its groups depend on each other,
                or the arguments do not fit it.
        """
        self._check(generator)
        start, request = self._request(generator, condition, seed, given)
        if isinstance(generator.order, RasterOrder):
            check_beginning(start.given)
        rounds = self._rounds(generator, request)
        batch, has_end = rounds.batch, generator.end is not None
        if batch.is_complete():
            step = Step(0, batch.total, batch.next_positions(0))
            yield Event(step, start.tokens, batch.mask() if has_end else None)
        try:
            while not batch.is_complete():
                step = rounds.play()
                tokens = self._shown(generator, start, batch.certain())
                yield Event(step, tokens, batch.mask() if has_end else None)
        finally:
            self._keep(rounds)

    @torch.no_grad()
    def generate_many(
        self, generator: Generator, condition: Tensor, *, batch_size: int, seed: int | Tensor = 0
    ) -> Iterator[Tensor]:
        """Draw items in order, where the next one begins as soon as a row of the batch is free.

        With a rule that is ``pathwise`` they have the tokens that `generate_sequences` draws;
        with other rules these are others of the same distribution.

        Args:
            generator: see `generate`; its items may have any length.
            condition: of each item.
            batch_size: items that are drawn at once.
            seed: see `generate`.

        Yields:
            The tokens of each item, [positions, width].

        Raises:
            ValueError: as for `events`, or the batch size is not above 0.
        """
        if batch_size < 1:
            raise ValueError(f"1 item or more is drawn at once, got {batch_size}")
        self._check(generator)
        if not isinstance(generator.order, RasterOrder):
            raise ValueError(f"{generator.name} draws batches as a whole: use generate")
        device, total = next(generator.parameters()).device, len(condition)
        if not total:
            return
        condition, seeds = condition.to(device), seeds_of(seed, total).to(device)
        owners = list(range(min(batch_size, total)))
        begun, given, done = len(owners), 0, dict[int, Tensor]()
        _, request = self._request(generator, condition[:begun], seeds[:begun], None)
        rounds = self._rounds(generator, request)
        while given < total:
            rounds.play()
            batch = rounds.batch
            free: list[int] = []
            for row, length in enumerate(batch.ended_lengths()):
                if length is not None and owners[row] >= 0:
                    tokens = batch.tokens[row : row + 1, :length]
                    done[owners[row]] = generator.denormalise(tokens)[0].clone()
                    owners[row] = -1
                    if begun + len(free) < total:
                        free.append(row)
            if free:
                items = slice(begun, begun + len(free))
                rows = torch.tensor(free, device=device)
                rounds.refill(rows, condition[items], seeds[items])
                for row in free:
                    owners[row], begun = begun, begun + 1
            while given in done:
                yield done.pop(given)
                given += 1

    def _rounds(self, generator: Generator, request: Request) -> Rounds:
        """The rounds of a batch, which `statistics` is then about; where they are recorded, those
        of the last batch if they fit."""
        rounds, self._idle = self._idle, None
        if rounds is not None and rounds.fits(generator, request):
            rounds.restart(request)
        else:
            speculation = Speculation(self.drafter, self.rule, self.window, self.guidance)
            rounds = Rounds(generator, request, speculation)
        self._ledger = rounds.batch.ledger
        return rounds

    def _keep(self, rounds: Rounds) -> None:
        """Keep rounds that are recorded for the next batch, however far this one came."""
        if rounds.graphs.recorded:
            self._idle = rounds

    def _check(self, generator: Generator) -> None:
        """Refuse a generator that cannot be drawn so."""
        head = generator.head
        one_by_one = isinstance(generator.order, RasterOrder | PermutedOrder)
        if not one_by_one or not isinstance(head, IndependentHead | DensityHead):
            raise ValueError(
                "speculative sampling takes a generator that draws row by row, or one token after "
                "the other in another order, with groups of ids that do not depend on each other, "
                "or with vectors of a Gaussian or a mixture; "
                f"{generator.name} does not: draw it without a drafter"
            )
        if self.rule.takes_vectors != isinstance(head, DensityHead):
            raise ValueError(
                f"{type(self.rule).__name__} judges {'ids' if not generator.vocab else 'vectors'} "
                f"and {generator.name} draws {'vectors' if not generator.vocab else 'ids'}; rules "
                "for vectors are MixtureRejection and ReflectionCoupling"
            )
