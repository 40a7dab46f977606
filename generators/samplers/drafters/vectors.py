"""Drafts of vectors, for generators whose head has a density: predicted, or by a small one."""

import torch
from torch import Tensor

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.generator import Generator
from intaglio.generators.heads.densities import DensityHead, GaussianMixture
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.orders.base import Request
from intaglio.generators.orders.raster import RasterOrder
from intaglio.generators.samplers.acceptance.base import Window
from intaglio.generators.samplers.drafters.base import Drafter, Drafting, Prefix, Round
from intaglio.generators.samplers.drafters.model import ModelDrafting
from intaglio.generators.samplers.sampler import UNGUIDED


class PredictedVectors(Drafting):
    """`JacobiDrafter` for vectors: where no prediction has reached yet, the last that has is drawn
    from.

    Args:
        tokens: of the batch, [batch, positions, channels].
        same_numbers: whether a position has the same noise in all rounds.
        keep_tokens: whether it keeps what the rule has put there.
    """

    changing = ("last",)

    def __init__(self, tokens: Tensor, *, same_numbers: bool, keep_tokens: bool) -> None:
        self.same_numbers, self.keep_tokens = same_numbers, keep_tokens
        self.example = tokens[:, :1]
        self.last: Round | None = None

    def propose(self, prefix: Prefix, draws: Draws) -> Window:
        """See `Drafting.propose`."""
        window = draws.positions.shape[1]
        if self.last is None:
            mean = torch.zeros_like(self.example).unsqueeze(-2).expand(-1, window, -1, -1)
            law = GaussianMixture(mean[..., 0], mean, mean)
            return Window(self._drawn(law, draws), None, law=law)
        target, verdict, kept = self.last[:3]
        index = kept.unsqueeze(1) + torch.arange(window, device=kept.device)
        predicted = verdict.tokens.shape[1]
        fresh = (index >= predicted).unsqueeze(-1)
        index = index.clamp_max(predicted - 1)
        law = GaussianMixture(
            *(
                one.take_along_dim(index.view(*index.shape, *[1] * (one.dim() - 2)), 1)
                for one in target
            )
        )
        tokens = self._drawn(law, draws)
        if self.keep_tokens:
            kept_tokens = verdict.of_target.take_along_dim(index.unsqueeze(-1), 1)
            tokens = torch.where(fresh, tokens, kept_tokens)
        return Window(tokens, None, law=law)

    def observe(self, round: Round) -> None:
        """See `Drafting.observe`."""
        self.last = round

    def _drawn(self, law: GaussianMixture, draws: Draws) -> Tensor:
        if self.same_numbers:
            return law.sample(draws._replace(round=0))
        return law.sample(draws, Role.DRAFT)


class VectorModelDrafter(Drafter):
    """Drafts from another generator that draws vectors row by row, faster than the target.

    Args:
        generator: of the same channels and positions, in evaluation mode. Its condition takes what
            that of the target takes.
        guidance: of the small generator.

    Raises:
        ValueError: the generator does not draw row by row, or its head has no density.
    """

    def __init__(self, generator: Generator, *, guidance: Guidance = UNGUIDED) -> None:
        guidance.check()
        raster = isinstance(generator.order, RasterOrder)
        if not raster or not isinstance(generator.head, DensityHead):
            raise ValueError(f"{generator.name} does not draw vectors row by row by their density")
        self.generator, self.guidance = generator, guidance

    def begin(self, generator: Generator, request: Request, window: int) -> Drafting:
        """See `Drafter.begin`.

        Raises:
            ValueError: the generators have other tokens.
        """
        mine = self.generator
        if (mine.width, mine.shape) != (generator.width, generator.shape):
            raise ValueError(
                f"{mine.name} draws {mine.shape} vectors of {mine.width} channels, no drafts for "
                f"{generator.shape} of {generator.width}"
            )
        return _SmallDrafting(mine, request, self.guidance, None, window)


class _SmallDrafting(ModelDrafting):
    def propose(self, prefix: Prefix, draws: Draws) -> Window:
        """See `Drafting.propose`."""
        assert isinstance(self.head, DensityHead)
        first, self.longest = prefix.lengths.unsqueeze(1), draws.positions.shape[1]
        tokens, positions = self.read(prefix)
        laws, drafts = [], []
        for depth in range(self.longest):
            hidden = self.windows.hidden(self.both(tokens), self.both(positions))[:, -1:]
            positions = first + depth
            law = self.head.distribution(*self.options(hidden, positions))
            tokens = law.sample(draws._replace(positions=positions), Role.DRAFT)
            laws.append(law)
            drafts.append(tokens)
        law = GaussianMixture(*(torch.cat(one, 1) for one in zip(*laws, strict=True)))
        return Window(torch.cat(drafts, 1), None, law=law)
