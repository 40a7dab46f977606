"""Block refinement compared with plain sampling in as many passes, where the truth is known.

Items are 16 numbers in a mixture of two normal distributions, of which neighbours depend on each
other; the generators know every conditional distribution in closed form. The small generator
takes the dependence for weaker. How far items are from the truth is their energy distance from
exact draws (Székely and Rizzo, 2013), 0 between equal distributions.
"""

from functools import lru_cache

import torch
from torch import Tensor

from intaglio.codecs.layers.transformer import Transformer
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.embeddings.base import LinearEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.base import Head, SamplingOptions
from intaglio.generators.heads.densities import GaussianMixture
from intaglio.generators.inference.counter_rng import Draws
from intaglio.generators.orders.masked import MaskedOrder
from intaglio.generators.samplers.block_refinement import BlockRefinement
from intaglio.generators.samplers.sampler import Sampler
from intaglio.recipes.benchmarks.timing import Timing

LENGTH, ITEMS = 16, 2000
BLOCKS = (2, 4, 8)
TOLERANCES = (0.1, 0.3, 1.0)
COST = 0.38  # of a pass of the small generator: MAR-B's beside MAR-H (Wang et al., 2024)


class _Law(Head):
    """A token of a mixture whose weights, means and deviation are the hidden vector."""

    def __init__(self) -> None:
        super().__init__()
        self.dim, self.width = 5, 1

    def _draw(self, hidden: Tensor, draws: Draws, options: SamplingOptions) -> Tensor:
        weights, mean, log_std = hidden[..., :2], hidden[..., 2:4], hidden[..., 4:]
        log_std = log_std.expand_as(mean)
        return GaussianMixture(weights, mean.unsqueeze(-1), log_std.unsqueeze(-1)).sample(draws)


class _KnownOrder(MaskedOrder):
    """Masked numbers given the others, in closed form.

    Args:
        mean: of the components, with either sign.
        correlation: of neighbours.
    """

    covariance: Tensor

    def __init__(self, mean: float, correlation: float) -> None:
        super().__init__(5, schedule="linear", reveal="random", steps=LENGTH)
        self.mean = mean
        line = torch.arange(LENGTH)
        apart = (line.unsqueeze(0) - line.unsqueeze(1)).abs()
        self.register_buffer("covariance", correlation ** apart.double())

    def hidden(
        self, backbone: Backbone, tokens: Tensor, condition: Tensor, masked: Tensor
    ) -> Tensor:
        """See `MaskedOrder.hidden`."""
        known, hidden = (~masked).double(), masked.double()
        means = self.covariance.new_tensor([self.mean, -self.mean])
        shift = (tokens.double() - means) * known.unsqueeze(-1)  # [batch, positions, components]
        of_known = self.covariance * known.unsqueeze(1) * known.unsqueeze(2)
        solved = torch.linalg.solve(of_known + torch.diag_embed(hidden), shift)
        log_weights = (-(shift * solved).sum(1) / 2).log_softmax(-1)
        mean = means + self.covariance @ solved
        precision = torch.linalg.inv(self.covariance)
        of_hidden = precision * hidden.unsqueeze(1) * hidden.unsqueeze(2)
        spread = torch.linalg.inv(of_hidden + torch.diag_embed(known)).diagonal(dim1=1, dim2=2)
        weights = log_weights.unsqueeze(1).expand_as(mean)
        return torch.cat([weights, mean, spread.log().unsqueeze(-1) / 2], dim=-1)

    def exact(self, items: int, seed: int) -> Tensor:
        """Draws of whole items, float64 [items, positions]."""
        random = torch.Generator().manual_seed(seed)
        noise = torch.randn(items, LENGTH, generator=random, dtype=torch.float64)
        signs = torch.randint(2, (items, 1), generator=random) * 2 - 1
        return self.mean * signs + noise @ torch.linalg.cholesky(self.covariance).T


def distance(items: Tensor, truth: Tensor, order: _KnownOrder) -> float:
    """Energy distance of items [count, positions] from others, each number given those before it in
    units of its deviation: at least 0, and that of equal distributions is chance."""
    factor = torch.linalg.cholesky(order.covariance)
    one, other = (torch.linalg.solve_triangular(factor, x.T, upper=False).T for x in (items, truth))
    between, *within = (
        torch.cdist(a, b).mean() for a, b in ((one, other), (one, one), (other, other))
    )
    return max(0.0, float(2 * between - within[0] - within[1])) ** 0.5


def known_generator(mean: float = 0.5, correlation: float = 0.8) -> Generator:
    """A generator that knows its items' distribution; arguments as of the order."""
    backbone = Backbone((LENGTH,), LinearEmbedding(1, 5), ClassCondition(1), Transformer(5, 1, 1))
    order = _KnownOrder(mean, correlation)
    return Generator(backbone, _Law(), order, name="known").double().eval()


def run(items: int = ITEMS) -> list[Timing]:
    """Every block and tolerance; distances stand in place of times."""
    target, small = known_generator(), known_generator(correlation=0.4)
    order = target.order
    assert isinstance(order, _KnownOrder)
    truth = order.exact(items, seed=0)

    def apart(sampler: Sampler, generator: Generator = target) -> float:
        drawn = sampler.generate(generator, torch.zeros(items, dtype=torch.int64))
        return distance(drawn[..., 0].double(), truth, order)

    @lru_cache
    def plain(steps: int) -> float:
        return apart(Sampler(steps=steps))

    known = f"in {LENGTH} passes {plain(LENGTH):.3f}, the drafter {apart(Sampler(), small):.3f}"
    chance = distance(order.exact(items, seed=1), truth, order)
    found = []
    for block in BLOCKS:
        for tolerance in TOLERANCES:
            sampler = BlockRefinement(small, block=block, tolerance=tolerance)
            ours, told = apart(sampler), sampler.statistics
            same_cost = min(LENGTH, told.passes + round(COST * told.drafts / items))
            note = (
                f"{told.acceptance:.0%} kept; plain at the cost of the drafts, too, in {same_cost} "
            )
            note += f"passes {plain(same_cost):.3f}; {known}; by chance {chance:.3f}"
            name = f"blocks of {block}, tolerance {tolerance}, {told.passes} passes"
            fewer, baseline = plain(told.passes), f"plain, {told.passes} passes"
            found.append(Timing(name, ours, fewer, baseline, "from the truth", fewer / ours, note))
    return found
