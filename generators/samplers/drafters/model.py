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
        same_numbers: drafts are drawn by the numbers that `Sampler` draws the tokens with, which
            `GumbelMatch` compares them with: the more alike the generators are, the more are kept.

    Raises:
        ValueError: the generator does not draw row by row, the numbers are out of range, or drafts
            by the same numbers should be drawn independently or searched for.
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
        same_numbers: bool = False,
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
        if same_numbers and (replace or beams):
            raise ValueError("drafts by the same numbers differ, and are not searched for by beams")
        self.generator, self.branching = generator, tuple(branching)
        self.same_numbers = same_numbers
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
        return _TreeDrafting(self, request, window)


class ModelDrafting(Drafting):
    """Base: drafts of one batch by a generator that reads the tokens that became certain.

    Args:
        generator: that drafts.
        request: the batch.
        guidance: of the drafts.
        warp: of the drafts; that of the request if None.
        window: see `Drafter.begin`.
    """

    changing = ("unread", "longest")

    def __init__(
        self,
        generator: Generator,
        request: Request,
        guidance: Guidance,
        warp: Warp | None,
        window: int,
    ) -> None:
        self.head, self.guided = generator.head, guidance.scale != 1
        self.warp = request.warp if warp is None else warp
        condition, given = request.condition, request.partial
        if self.guided:
            everyone = torch.ones(len(condition), dtype=torch.bool, device=condition.device)
            condition = torch.cat([condition, generator.condition.dropped(condition, everyone)])
        self.total = given.given.shape[1]
        times = [number / max(1, self.total - 1) for number in range(self.total)]
        scales = torch.tensor([guidance.at(time) for time in times], dtype=torch.float64)
        self.scales = scales.to(given.given.device)
        self.windows = self.start(generator, condition, request, window)
        # tokens that may have become certain since the generator read the last ones
        counts = given.given.sum(1)
        self.unread, self.longest = int(counts.max() - counts.min()), 0

    def start(
        self, generator: Generator, condition: Tensor, request: Request, window: int
    ) -> RasterWindows:
        """Windows of the generator, which has read the tokens that are given of all items.

        Args:
            condition: of each item, or of both halves of a guided batch.
        """
        windows = RasterWindows(generator.backbone, condition, self.total, window)
        first = int(request.partial.given.all(0).sum())
        windows.begin(self.both(request.partial.tokens[:, :first]))
        return windows

    def observe(self, round: Round) -> None:
        """See `Drafting.observe`."""
        self.unread += min(round.target[0].shape[1], self.longest + 1)

    def read(self, prefix: Prefix) -> tuple[Tensor, Tensor]:
        """The last tokens that are certain, [batch, count, groups], and their positions."""
        count = min(max(1, self.unread), self.total)
        positions = prefix.lengths.unsqueeze(1) + torch.arange(-count, 0, device=self.scales.device)
        positions, self.unread = positions.clamp_min(0), 0
        return prefix.tokens.take_along_dim(positions.unsqueeze(-1), 1), positions

    def distribution(self, hidden: Tensor, positions: Tensor) -> list[Tensor]:
        """Log-probabilities of the tokens at positions, [batch, count, vocab] of each group."""
        assert isinstance(self.head, IndependentHead)
        return self.head.distribution(*self.options(hidden, positions))

    def options(self, hidden: Tensor, positions: Tensor) -> tuple[Tensor, SamplingOptions]:
        """Hidden vectors with the condition, and guidance and warp of their distributions."""
        null = None
        if self.guided:
            hidden, null = hidden.chunk(2)
        scales = self.scales[positions.clamp_max(self.total - 1)]
        return hidden, SamplingOptions(null, scales, self.warp)

    def both(self, x: Tensor) -> Tensor:
        """For both halves of a guided batch."""
        return torch.cat([x, x]) if self.guided else x


class _TreeDrafting(ModelDrafting):
    def __init__(self, drafter: ModelDrafter, request: Request, window: int) -> None:
        self.drafter = drafter
        super().__init__(drafter.generator, request, drafter.guidance, drafter.warp, window)

    def propose(self, prefix: Prefix, draws: Draws) -> Window:
        """See `Drafting.propose`."""
        sizes = self.drafter.sizes(draws.positions.shape[1])
        root, self.longest = prefix.lengths.unsqueeze(1) - 1, len(sizes)
        tokens, positions = self.read(prefix)
        hidden = self.windows.hidden(self.both(tokens), self.both(positions))
        log_probs = self.distribution(hidden[:, -1:], root + 1)
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
                ancestors = self.both(tree.ancestors[:, -size:].expand(len(root), -1, -1))
                log_probs = self._log_probs(level.tokens, positions, ancestors, root)
        tokens = torch.cat([level.tokens for level in levels], 1)
        laws = [
            torch.cat(one, 1) for one in zip(*(level.log_probs for level in levels), strict=True)
        ]
        return Window(tokens, laws, None if max(sizes) == 1 else tree)

    def _branched(self, log_probs: list[Tensor], draws: Draws, depth: int, size: int) -> Level:
        counts = self.drafter.branching[depth : depth + 1] or (1,)
        options = {"replace": self.drafter.replace, "same": self.drafter.same_numbers}
        level = branched(log_probs, draws, counts[0], **options)
        laws = [one[:, :size] for one in level.log_probs]
        return Level(level.tokens[:, :size], laws, level.parents[:, :size])

    def _log_probs(
        self, tokens: Tensor, positions: Tensor, ancestors: Tensor, root: Tensor
    ) -> list[Tensor]:
        """Distributions behind the drafts of a depth."""
        hidden = self.windows.hidden(
            self.both(tokens), self.both(positions), ancestors=ancestors, root=self.both(root)
        )
        return self.distribution(hidden, positions + 1)
