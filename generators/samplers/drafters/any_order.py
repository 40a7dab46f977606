"""Drafts of a generator that draws in any order, from the generator itself."""

import torch
from torch import Tensor

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.generator import Generator
from intaglio.generators.heads.independent import race
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.orders.base import Request
from intaglio.generators.orders.permuted import PermutedOrder
from intaglio.generators.orders.permuted_windows import PermutedWindows
from intaglio.generators.orders.raster_windows import RasterWindows
from intaglio.generators.samplers.acceptance.base import Window
from intaglio.generators.samplers.drafters.base import Drafter, Drafting, Prefix
from intaglio.generators.samplers.drafters.model import ModelDrafting
from intaglio.generators.samplers.sampler import UNGUIDED


class AnyOrderDrafter(Drafter):
    """Drafts of the next positions, each as if it came next: Any-Subset Speculative Decoding.

    Of a generator with a permuted order, which knows each position given any others (ASSD; Guo and
    Ermon, 2025). The first draft has the target's distribution, and is always kept by rules that
    know it. A round takes two passes, which both count; it never takes more than plain sampling, as
    it gives two tokens at least.

    Args:
        guidance: of the drafts; that of the sampler keeps most.
    """

    def __init__(self, guidance: Guidance = UNGUIDED) -> None:
        guidance.check()
        self.guidance = guidance

    def begin(self, generator: Generator, request: Request, window: int) -> Drafting:
        """See `Drafter.begin`.

        Raises:
            ValueError: the generator does not draw in any order.
        """
        if not isinstance(generator.order, PermutedOrder):
            raise ValueError(f"{generator.name} draws in one order: take another drafter")
        return _AnyOrderDrafting(generator, request, self.guidance, None, window)


class _AnyOrderDrafting(ModelDrafting):
    passes = 1

    def start(
        self, generator: Generator, condition: Tensor, request: Request, window: int
    ) -> RasterWindows:
        """See `ModelDrafting.start`."""
        order, (tokens, given) = generator.order, request.partial
        assert isinstance(order, PermutedOrder)
        sequence = order.sequence(given, request.seeds)
        self.places = PermutedWindows(
            generator.backbone, condition, order, self.both(sequence), window
        )
        first = int(given.sum(1).min())
        self.places.begin(self.both(tokens.take_along_dim(sequence[:, :first, None], 1)))
        return self.places

    def propose(self, prefix: Prefix, draws: Draws) -> Window:
        """See `Drafting.propose`."""
        self.longest = window = draws.positions.shape[1]
        tokens, positions = self.read(prefix)
        hidden = self.places.guesses(self.both(tokens), self.both(positions), window)
        ahead = positions[:, -1:] + torch.arange(1, window + 1, device=positions.device)
        log_probs = self.distribution(hidden, ahead)
        keys = draws._replace(round=0).keys(Role.TOKEN, len(log_probs))
        return Window(race(log_probs, keys), log_probs)
