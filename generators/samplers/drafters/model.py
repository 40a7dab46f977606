"""Drafts of a small generator of the same tokens: chains, or trees of them."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.generator import Generator
from intaglio.generators.heads.base import SamplingOptions
from intaglio.generators.heads.independent import IndependentHead
from intaglio.generators.inference.counter_rng import Draws
from intaglio.generators.inference.logits import Warp
from intaglio.generators.orders.base import Request
from intaglio.generators.orders.raster import RasterOrder
from intaglio.generators.orders.raster_windows import RasterWindows
from intaglio.generators.samplers.acceptance.base import Window
from intaglio.generators.samplers.acceptance.tree import grown
from intaglio.generators.samplers.drafters.base import Drafter, Drafting, Prefix, Round
from intaglio.generators.samplers.drafters.siblings import Level, branched, searched
from intaglio.generators.samplers.sampler import UNGUIDED


class ModelDrafter(Drafter):
    """Drafts from another generator that draws row by row, faster than the target.

    Args:
        generator: of the same ids and positions, in evaluation mode. Its condition takes what that
            of the target takes.
        branching: how many drafts follow each at depths 0, 1, …; 1 at all others, as in a chain.
        beams: so many drafts at every depth instead, those of the likeliest paths by stochastic
            beam search (Recursive Speculative Decoding, RSD-S; Jeon et al., 2024); 0 for none.
        levels: drafts that follow each other, at most; None for as many as the window holds.
        replace: siblings are drawn independently, and may be equal, as `KSeq` needs it; otherwise
            they differ.
        guidance: of the small generator.
        warp: of the small generator; that of the target if None.

    Raises:
        ValueError: the generator does not draw row by row, or the numbers are out of range.
    """

    def __init__(
        self,
        generator: Generator,
        *,
        branching: Sequence[int] = (),
        beams: int = 0,
        levels: int | None = None,
        replace: bool = False,
        guidance: Guidance = UNGUIDED,
        warp: Warp | None = None,
    ) -> None:
        guidance.check()
        head = generator.head
        if not isinstance(generator.order, RasterOrder) or not isinstance(head, IndependentHead):
            raise ValueError(f"{generator.name} does not draw row by row, id by id: no drafter")
        least = min(head.vocab)
        if not all(1 <= count <= least for count in (*branching, beams or 1, levels or 1)):
            raise ValueError(f"1 to {least} drafts of a token, got {[*branching, beams, levels]}")
        if beams and (branching or replace or head.width > 1):
            raise ValueError("beams have no branching of their own, differ, and are single ids")
        self.generator, self.branching = generator, tuple(branching)
        self.beams, self.levels, self.replace = beams, levels, replace
        self.guidance, self.warp = guidance, warp

    def sizes(self, window: int) -> list[int]:
        """Drafts at depths 1, 2, … of a window."""
        found: list[int] = []
        while window and len(found) != self.levels:
            size = self.beams or prod(self.branching[: len(found) + 1])
            found.append(min(window, size))
            window -= found[-1]
        return found

    def begin(self, generator: Generator, request: Request, window: int) -> Drafting:
        """See `Drafter.begin`.

        Raises:
            ValueError: the generators have other tokens.
        """
        mine, theirs = self.generator, generator
        if (mine.head.vocab, mine.shape) != (theirs.head.vocab, theirs.shape):
            raise ValueError(
                f"{mine.name} draws {mine.shape} ids of {mine.head.vocab}, no drafts for "
                f"{theirs.shape} of {theirs.head.vocab}"
            )
        mine.to(request.seeds.device)
        return _ModelDrafting(self, request, window)


class _ModelDrafting(Drafting):
    def __init__(self, drafter: ModelDrafter, request: Request, window: int) -> None:
        generator = drafter.generator
        assert isinstance(generator.head, IndependentHead)
        self.drafter, self.head, self.guided = drafter, generator.head, drafter.guidance.scale != 1
        self.warp = request.warp if drafter.warp is None else drafter.warp
        condition, given = request.condition, request.partial
        if self.guided:
            everyone = torch.ones(len(condition), dtype=torch.bool, device=condition.device)
            condition = torch.cat([condition, generator.condition.dropped(condition, everyone)])
        self.total = given.given.shape[1]
        times = [number / max(1, self.total - 1) for number in range(self.total)]
        scales = torch.tensor([drafter.guidance.at(time) for time in times], dtype=torch.float64)
        self.scales = scales.to(given.given.device)
        self.windows = RasterWindows(generator.backbone, condition, self.total, window)
        first = int(given.given.all(0).sum())
        self.windows.begin(self._both(given.tokens[:, :first]))
        # tokens that may have become certain since the small generator read the last ones
        self.unread = self.longest = 0

    def observe(self, round: Round) -> None:
        """See `Drafting.observe`."""
        self.unread += min(round.target[0].shape[1], self.longest + 1)

    def propose(self, prefix: Prefix, draws: Draws) -> Window:
        """See `Drafting.propose`."""
        sizes = self.drafter.sizes(draws.positions.shape[1])
        root, self.longest = prefix.lengths.unsqueeze(1) - 1, len(sizes)
        log_probs = self._read(prefix, root)
        entries, start, scores = torch.zeros_like(root), 1, None
        levels: list[Level] = []
        parents: list[Tensor] = []
        for depth, size in enumerate(sizes):
            numbers = draws._replace(positions=root + 1 + depth)
            if self.drafter.beams:
                level, scores = searched(log_probs[0], numbers, size, scores)
            else:
                level = self._branched(log_probs, numbers, depth, size)
            levels.append(level)
            parents.append(entries.take_along_dim(level.parents, 1))
            tree = grown(
                torch.cat(parents, 1),
                siblings=max(sizes),
                levels=depth + 1,
                independent=self.drafter.replace,
            )
            first = torch.arange(size, device=root.device)
            if self.drafter.replace:  # what follows equal siblings follows the first of them
                same = (level.tokens.unsqueeze(1) == level.tokens.unsqueeze(2)).all(-1)
                same &= parents[-1].unsqueeze(1) == parents[-1].unsqueeze(2)
                first = same.long().argmax(-1)
            entries = (start + first).expand(len(root), -1)
            start += size
            if depth + 1 < len(sizes):
                positions = (root + 1 + depth).expand(-1, size)
                ancestors = self._both(tree.ancestors[:, -size:].expand(len(root), -1, -1))
                log_probs = self._log_probs(level.tokens, positions, ancestors, root)
        tokens = torch.cat([level.tokens for level in levels], 1)
        laws = [
            torch.cat(one, 1) for one in zip(*(level.log_probs for level in levels), strict=True)
        ]
        return Window(tokens, laws, None if max(sizes) == 1 else tree)

    def _branched(self, log_probs: list[Tensor], draws: Draws, depth: int, size: int) -> Level:
        counts = self.drafter.branching[depth : depth + 1] or (1,)
        level = branched(log_probs, draws, counts[0], replace=self.drafter.replace)
        laws = [one[:, :size] for one in level.log_probs]
        return Level(level.tokens[:, :size], laws, level.parents[:, :size])

    def _read(self, prefix: Prefix, root: Tensor) -> list[Tensor]:
        """Distributions behind the last tokens that are certain, which are read first."""
        count = min(max(1, self.unread), self.total)
        positions = root + torch.arange(1 - count, 1, device=root.device)
        positions, self.unread = positions.clamp_min(0), 0
        tokens = prefix.tokens.take_along_dim(positions.unsqueeze(-1), 1)
        hidden = self.windows.hidden(self._both(tokens), self._both(positions))
        return self._distribution(hidden[:, -1:], root + 1)

    def _log_probs(
        self, tokens: Tensor, positions: Tensor, ancestors: Tensor, root: Tensor
    ) -> list[Tensor]:
        """Distributions behind the drafts of a depth."""
        hidden = self.windows.hidden(
            self._both(tokens), self._both(positions), ancestors=ancestors, root=self._both(root)
        )
        return self._distribution(hidden, positions + 1)

    def _distribution(self, hidden: Tensor, positions: Tensor) -> list[Tensor]:
        null = None
        if self.guided:
            hidden, null = hidden.chunk(2)
        scales = self.scales[positions.clamp_max(self.total - 1)]
        return self.head.distribution(hidden, SamplingOptions(null, scales, self.warp))

    def _both(self, x: Tensor) -> Tensor:
        return torch.cat([x, x]) if self.guided else x
