"""Several tokens in a pass in any order: the tokens and the distribution of plain sampling."""

from itertools import permutations, product

import pytest
import torch
from scipy.stats import chi2

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.inference.logits import Warp
from intaglio.generators.orders.base import PartialSequence
from intaglio.generators.orders.permuted import PermutedOrder
from intaglio.generators.orders.permuted_windows import PermutedWindows
from intaglio.generators.samplers.acceptance.exact import ModifiedRejection
from intaglio.generators.samplers.drafters.any_order import AnyOrderDrafter
from intaglio.generators.samplers.drafters.jacobi import JacobiDrafter
from intaglio.generators.samplers.sampler import Sampler
from intaglio.generators.samplers.speculative import SpeculativeSampler

VOCAB, LENGTH, ITEMS = 4, 4, 12_000
FALSE_ALARM = 1e-6
GUIDED = Guidance(2.5, "linear")


@pytest.fixture
def permuted(generator_with):
    """Build a generator that draws in random orders; in evaluation mode."""

    def build(shape=(LENGTH,), vocab=VOCAB, draws="random"):
        positions = torch.tensor(shape).prod().item()
        found = generator_with(
            PermutedOrder(16, positions, draws=draws),
            shape=shape,
            vocab=vocab,
            dtype=torch.float64,
            rotary=None,
            learned_positions=True,
        )
        # tokens that depend on each other more than on where they stand
        found.backbone.embedding.tables[0].weight.data.mul_(6)
        found.head.linear.weight.data.mul_(1.5)
        return found

    return build


def p_value(generator, sampler, items: int = ITEMS) -> float:
    """Of a chi-square test of the items of each of the 24 orders."""
    every = torch.tensor(list(product(range(VOCAB), repeat=LENGTH))).unsqueeze(-1)
    condition = torch.ones(len(every), dtype=torch.int64)
    drawn = sampler.generate(generator, torch.ones(items, dtype=torch.int64), seed=0)[..., 0]
    given = torch.zeros(items, LENGTH, dtype=torch.bool)
    sequences = generator.order.sequence(given, torch.arange(items))
    numbers = (drawn * VOCAB ** torch.arange(LENGTH - 1, -1, -1)).sum(1)
    statistic, freedom = 0.0, 0
    for order in torch.tensor(list(permutations(range(LENGTH)))):
        mine = numbers[(sequences == order).all(1)]
        with torch.no_grad():
            hidden, targets, _, _ = generator.order.predictions_given(
                generator.backbone, every, condition, order.expand(len(every), -1)
            )
            log_prob = generator.head.log_prob(hidden, targets).view(-1, LENGTH).sum(1)
        expected = len(mine) * log_prob.exp()
        counts = mine.bincount(minlength=len(every)).double()
        rare = expected < 5
        counts = torch.cat([counts[~rare], counts[rare].sum()[None]])
        expected = torch.cat([expected[~rare], expected[rare].sum()[None]])
        statistic += float(((counts - expected).square() / expected).sum())
        freedom += len(counts) - 1
    return float(chi2.sf(statistic, freedom))


def test_any_order_drafts_give_the_distribution_of_the_target_in_all_orders(permuted):
    generator = permuted()
    sampler = SpeculativeSampler(drafter=AnyOrderDrafter(), rule=ModifiedRejection(), window=3)
    assert p_value(generator, sampler) > FALSE_ALARM


@pytest.mark.slow
@pytest.mark.parametrize("window", [1, 2, 3, 8])
def test_any_order_drafts_in_many_items(permuted, window):
    generator = permuted()
    for drafter in (AnyOrderDrafter(), JacobiDrafter("maximal", "uniform")):
        sampler = SpeculativeSampler(drafter=drafter, rule=ModifiedRejection(), window=window)
        found = p_value(generator, sampler, 50_000)
        rate = sampler.statistics.tokens_per_pass
        print(f"{type(drafter).__name__}, window {window}: p = {found:.3g}, {rate:.2f}")
        assert found > FALSE_ALARM


def test_the_test_fails_without_rollback(permuted, monkeypatch):
    right = ModifiedRejection.verify

    def verify(self, window, target, draws):
        verdict = right(self, window, target, draws)
        return verdict._replace(accepted=torch.ones_like(verdict.accepted))

    monkeypatch.setattr(ModifiedRejection, "verify", verify)
    sampler = SpeculativeSampler(drafter=AnyOrderDrafter(), rule=ModifiedRejection(), window=3)
    assert p_value(permuted(), sampler) < FALSE_ALARM


@pytest.mark.parametrize("guidance", [Guidance(), GUIDED], ids=["plain", "guided"])
@pytest.mark.parametrize("draws", ["random", "raster"])
def test_gumbel_match_draws_the_tokens_of_plain_sampling(permuted, draws, guidance):
    generator = permuted(shape=(3, 4), vocab=8, draws=draws)
    condition = torch.arange(9) % 3
    options = {"guidance": guidance, "warp": Warp(0.9, top_k=6)}
    plain = Sampler(**options).generate(generator, condition, seed=3)
    drafters = (AnyOrderDrafter(guidance), JacobiDrafter("gumbel"), JacobiDrafter(siblings=2))
    gaps = torch.rand(9, 12, generator=torch.Generator().manual_seed(0)) < 0.4
    filled = Sampler(**options).generate(
        generator, condition, seed=3, given=PartialSequence(plain.roll(1, 0), gaps)
    )
    for drafter, window in product(drafters, (3, 14)):
        sampler = SpeculativeSampler(drafter=drafter, window=window, **options)
        assert torch.equal(sampler.generate(generator, condition, seed=3), plain)
        found = sampler.generate(
            generator, condition, seed=3, given=PartialSequence(plain.roll(1, 0), gaps)
        )
        assert torch.equal(found, filled)


def test_the_first_draft_is_always_kept(permuted):
    generator = permuted(shape=(3, 4), vocab=8)
    sampler = SpeculativeSampler(
        drafter=AnyOrderDrafter(GUIDED), rule=ModifiedRejection(), window=1, guidance=GUIDED
    )
    sampler.generate(generator, torch.arange(9) % 3)
    found = sampler.statistics
    assert found.accepted == found.drafts
    assert found.tokens_per_pass >= 12 / 13  # the first token has no draft


def test_orders_that_are_fixed_are_refused(raster):
    with pytest.raises(ValueError, match="draws in one order"):
        SpeculativeSampler(drafter=AnyOrderDrafter()).generate(
            raster(), torch.zeros(1, dtype=torch.int64)
        )


@torch.no_grad()
def test_guesses_are_what_one_pass_finds(permuted):
    """Each of the next positions, as if it came next, after windows of right and wrong tokens."""
    generator = permuted(shape=(3, 4), vocab=5)
    torch.manual_seed(0)
    tokens, condition = torch.randint(5, (3, 12, 1)), torch.arange(3)
    order = torch.rand(3, 12).argsort(1)
    windows = PermutedWindows(generator.backbone, condition, generator.order, order, 4)
    ordered = tokens.take_along_dim(order.unsqueeze(-1), 1)
    windows.begin(ordered[:, :1])
    lengths, rows = torch.tensor([2, 3, 4]), torch.arange(3).unsqueeze(1)
    positions = (lengths.unsqueeze(1) + torch.arange(-3, 0)).clamp_min(0)
    found = windows.guesses(ordered[rows, positions], positions, 4)
    wrong = torch.cat([ordered[rows, positions[:, -1:]], torch.randint(5, (3, 3, 1))], 1)
    windows.hidden(wrong, positions[:, -1:] + torch.arange(4))
    again = windows.guesses(ordered[rows, positions[:, -1:]], positions[:, -1:], 4)
    for row, ahead in product(range(3), range(4)):
        known = int(lengths[row])
        swapped = order[row].clone()
        swapped[[known, known + ahead]] = order[row][[known + ahead, known]]
        whole, _, _, _ = generator.order.predictions_given(
            generator.backbone, tokens[row : row + 1], condition[row : row + 1], swapped[None]
        )
        for one in (found, again):
            assert (one[row, ahead] - whole[known]).abs().max() < 1e-9
