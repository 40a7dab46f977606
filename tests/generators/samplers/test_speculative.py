"""Speculative sampling: the tokens of plain sampling or their distribution; wrong ones are seen."""

import pytest
import torch

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.heads.independent import race
from intaglio.generators.inference.counter_rng import Role
from intaglio.generators.inference.logits import Warp
from intaglio.generators.orders.base import PartialSequence
from intaglio.generators.orders.raster_windows import RasterWindows
from intaglio.generators.samplers import rounds
from intaglio.generators.samplers.acceptance.base import Verdict, Window
from intaglio.generators.samplers.acceptance.exact import GumbelMatch, ModifiedRejection
from intaglio.generators.samplers.adaptive_window import AdaptiveWindow
from intaglio.generators.samplers.drafters.jacobi import JacobiDrafter
from intaglio.generators.samplers.sampler import Sampler
from intaglio.generators.samplers.speculative import SpeculativeSampler

VOCAB, LENGTH, ITEMS = 3, 5, 10_000
FALSE_ALARM = 1e-6
RULES = {"gumbel": GumbelMatch(), "rejection": ModifiedRejection()}
DRAFTERS = {
    f"{coupling}-{initial}": JacobiDrafter(coupling, initial)
    for coupling in ("gumbel", "maximal", "independent")
    for initial in ("uniform", "last")
}
GUIDED = Guidance(2.5, "linear")


@pytest.fixture
def generator(raster):
    return raster(shape=(LENGTH,), vocab=VOCAB, dtype=torch.float64)


@pytest.mark.parametrize(
    ("drafter", "window"),
    [*((name, 3) for name in DRAFTERS), *(("maximal-uniform", size) for size in (1, 8))],
)
def test_rejection_draws_from_the_distribution_of_the_generator(
    p_value, generator, drafter, window
):
    sampler = SpeculativeSampler(drafter=DRAFTERS[drafter], rule=ModifiedRejection(), window=window)
    assert p_value(generator, sampler, ITEMS) > FALSE_ALARM
    assert 1.1 < sampler.statistics.tokens_per_pass <= window + 1


def test_a_window_that_changes_does_not_change_the_distribution(p_value, generator, monkeypatch):
    """The clock says that each round was faster than the one before, or much slower."""
    seconds = iter(torch.rand(1000, generator=torch.manual_seed(0)).cumsum(0).tolist())
    monkeypatch.setattr(rounds.time, "perf_counter", lambda: next(seconds))
    window = AdaptiveWindow((0, 1, 3))
    rule, drafter = ModifiedRejection(), DRAFTERS["maximal-last"]
    sampler = SpeculativeSampler(drafter=drafter, rule=rule, window=window)
    widths = []
    sampler.generate(
        generator,
        torch.ones(4, dtype=torch.int64),
        callback=lambda event: widths.append(event.step.positions.shape[1] - 1),
    )
    assert p_value(generator, sampler, ITEMS) > FALSE_ALARM
    assert 1 < sampler.statistics.tokens_per_pass and len(set(widths)) > 1


@pytest.mark.parametrize("guidance", [Guidance(), GUIDED], ids=["plain", "guided"])
@pytest.mark.parametrize("drafter", DRAFTERS)
def test_gumbel_match_draws_the_tokens_of_plain_sampling(raster, drafter, guidance):
    generator = raster(shape=(4, 4), vocab=8, dtype=torch.float64)
    condition = torch.arange(40) % 3
    options = {"guidance": guidance, "warp": Warp(0.9, top_k=6)}
    plain = Sampler(**options).generate(generator, condition, seed=3)
    for window in (5, 20, AdaptiveWindow((0, 3, 7)), None):
        sampler = SpeculativeSampler(drafter=DRAFTERS[drafter], window=window, **options)
        assert torch.equal(sampler.generate(generator, condition, seed=3), plain)
        assert sampler.statistics.tokens == plain.numel()
    alone = sampler.generate(generator, condition[7:8], seed=10)
    assert torch.equal(alone, plain[7:8])


@pytest.mark.parametrize("rule", RULES)
def test_without_drafts_it_is_plain_sampling(generator, rule):
    condition = torch.arange(12) % 3
    plain = Sampler(guidance=GUIDED).generate(generator, condition, seed=1)
    sampler = SpeculativeSampler(rule=RULES[rule], window=0, guidance=GUIDED)
    assert torch.equal(sampler.generate(generator, condition, seed=1), plain)
    assert sampler.statistics == (LENGTH, 12 * LENGTH, 12 * LENGTH, 0, 0, 0)
    assert sampler.statistics.tokens_per_pass == 1


def test_tokens_that_are_given_stay_and_count_as_certain(generator):
    condition = torch.arange(4) % 3
    plain = Sampler().generate(generator, condition, seed=1)
    lengths = torch.tensor([1, 3, 2, LENGTH])
    given = PartialSequence(plain, torch.arange(LENGTH) < lengths[:, None])
    for rule in RULES.values():
        sampler = SpeculativeSampler(rule=rule, window=3)
        drawn = sampler.generate(generator, condition, seed=1, given=given)
        for row, length in enumerate(lengths):
            assert torch.equal(drawn[row, :length], plain[row, :length])
    assert torch.equal(
        SpeculativeSampler(window=3).generate(generator, condition, seed=1, given=given), plain
    )
    whole = given._replace(given=torch.ones(4, LENGTH, dtype=torch.bool))
    sampler = SpeculativeSampler()
    assert torch.equal(sampler.generate(generator, condition, seed=9, given=whole), plain)
    assert sampler.statistics.passes == 0


def test_a_gap_is_refused_as_in_plain_sampling(generator):
    tokens = torch.zeros(1, LENGTH, 1, dtype=torch.int64)
    given = PartialSequence(tokens, torch.arange(LENGTH)[None] == 2)
    for sampler in (Sampler(), SpeculativeSampler()):
        with pytest.raises(ValueError, match="goes on from a beginning"):
            sampler.generate(generator, torch.zeros(1, dtype=torch.int64), given=given)


def test_refilled_rows_draw_from_the_distribution(p_value, generator):
    sampler = SpeculativeSampler(
        drafter=DRAFTERS["maximal-last"], rule=ModifiedRejection(), window=2
    )

    class Refilled:
        def generate(self, generator, condition, seed):
            return torch.stack(
                [*sampler.generate_many(generator, condition, batch_size=2000, seed=seed)]
            )

    assert p_value(generator, Refilled(), ITEMS) > FALSE_ALARM


def test_events_show_what_is_certain(generator):
    seen = []
    sampler = SpeculativeSampler(window=2)
    drawn = sampler.generate(generator, torch.arange(3), seed=4, callback=seen.append)
    assert [event.step.number for event in seen] == list(range(sampler.statistics.passes))
    assert torch.equal(seen[-1].tokens, drawn)
    for event, after in zip(seen, seen[1:], strict=False):
        certain = torch.arange(LENGTH) < after.step.positions[:, :1]
        assert torch.equal(event.tokens[certain], drawn[certain])
        assert not event.tokens[~certain].any()


@torch.no_grad()
@pytest.mark.parametrize("prefix", [1, 3])
@pytest.mark.parametrize("options", [{}, {"rotary": "line"}, {"learned_positions": True}])
def test_windows_find_what_one_pass_finds_after_any_rollback(raster, prefix, options):
    """Hidden vectors of random windows, accepted up to random lengths, in double precision."""
    generator = raster(shape=(3, 4), vocab=5, prefix=prefix, dtype=torch.float64, **options)
    torch.manual_seed(1)
    tokens, condition = torch.randint(5, (4, 12, 1)), torch.arange(4) % 3
    whole = generator.predictions(tokens, condition).hidden.view(4, 12, -1)
    windows = RasterWindows(generator.backbone, condition, 12, 4)
    assert (windows.begin(tokens[:, :2])[:, 0] - whole[:, 2]).abs().max() < 1e-9
    lengths, rows = torch.full((4,), 2), torch.arange(4).unsqueeze(1)
    while not bool((lengths == 11).all()):
        positions = lengths.unsqueeze(1) + torch.arange(5)
        drafts = torch.cat([tokens, torch.randint(5, (4, 5, 1))], 1)[rows, positions]
        wrong = torch.randint(1, 5, (4, 1))  # from here on the drafts are others
        drafts = torch.where((torch.arange(5) >= wrong)[..., None], 4 - drafts, drafts)
        found = windows.hidden(drafts, positions)
        right = (torch.arange(5) < wrong) & (positions < 11)
        expected = whole[rows, (positions + 1).clamp_max(11)]
        assert (found - expected)[right].abs().max() < 1e-9
        lengths = torch.minimum(lengths + wrong[:, 0].clamp_max(3), torch.tensor(11))


def test_what_cannot_be_drawn_so_is_refused(masked, raster):
    with pytest.raises(ValueError, match="draws row by row"):
        SpeculativeSampler().generate(masked(), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(ValueError, match="0 or more drafts"):
        SpeculativeSampler(window=-1)
    with pytest.raises(ValueError, match="couplings are"):
        JacobiDrafter("strong")


def test_the_excess_of_the_tokens_that_were_judged_is_added_up(generator):
    class Ledger(GumbelMatch):
        def verify(self, window: Window, target, draws) -> Verdict:
            verdict = super().verify(window, target, draws)
            return verdict._replace(excess=torch.full(verdict.accepted.shape, 0.25))

    sampler = SpeculativeSampler(rule=Ledger(), window=3)
    sampler.generate(generator, torch.arange(8) % 3, seed=2)
    found = sampler.statistics
    # of each pass the accepted drafts and the first that was not; other tokens have no draft
    assert found.excess >= 0.25 * found.accepted
    assert found.excess <= 0.25 * min(found.drafts, found.accepted + found.item_passes)
    assert (found.excess / 0.25).is_integer()
    assert found.excess > 0


def test_the_longest_of_several_is_not_the_distribution(p_value, generator):
    """Two samplings of a window, of which the one with more accepted drafts is taken."""

    class Longest(ModifiedRejection):
        def verify(self, window: Window, target, draws) -> Verdict:
            if not window.tokens.shape[1]:
                return super().verify(window, target, draws)
            tokens = race(window.log_probs, draws._replace(round=99).keys(Role.DRAFT, 1)[:, :-1])
            one = super().verify(window, target, draws)
            other = super().verify(
                window._replace(tokens=tokens), target, draws._replace(round=draws.round + 1000)
            )
            runs = [found.accepted.long().cumprod(1).sum(1) for found in (one, other)]
            better = (runs[1] > runs[0])[:, None]
            return Verdict(
                torch.where(better, other.accepted, one.accepted),
                torch.where(better[..., None], other.tokens, one.tokens),
            )

    sampler = SpeculativeSampler(
        drafter=JacobiDrafter("independent", "uniform"), rule=Longest(), window=3
    )
    assert p_value(generator, sampler, ITEMS) < FALSE_ALARM
