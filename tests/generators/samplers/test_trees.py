"""Trees of drafts: items have the target's distribution, and tests fail on wrong samplers."""

from itertools import product

import pytest
import torch

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.inference.logits import Warp
from intaglio.generators.orders.base import PartialSequence
from intaglio.generators.orders.raster_windows import RasterWindows
from intaglio.generators.samplers.acceptance.base import Verdict, Window, matched
from intaglio.generators.samplers.acceptance.exact import ModifiedRejection
from intaglio.generators.samplers.acceptance.multi_draft import (
    KSeq,
    RecursiveRejection,
    SampleMatch,
)
from intaglio.generators.samplers.acceptance.tree import Tree, grown
from intaglio.generators.samplers.drafters import siblings
from intaglio.generators.samplers.drafters.adjacency import AdjacencyDrafter
from intaglio.generators.samplers.drafters.jacobi import JacobiDrafter, comb
from intaglio.generators.samplers.drafters.model import ModelDrafter
from intaglio.generators.samplers.sampler import Sampler
from intaglio.generators.samplers.speculative import SpeculativeSampler

VOCAB, LENGTH, ITEMS, MANY = 4, 4, 6_000, 50_000
FALSE_ALARM = 1e-6
GUIDED = Guidance(2.5, "linear")


@pytest.fixture
def generator(raster):
    return raster(shape=(LENGTH,), vocab=VOCAB, dtype=torch.float64)


def smaller(generator, raster, noise=0.15, **options):
    """A generator that differs from another as a small one does from a large one."""
    found = raster(**options)
    torch.manual_seed(1)
    for mine, theirs in zip(found.parameters(), generator.parameters(), strict=True):
        mine.data.copy_(theirs + noise * torch.randn_like(theirs))
    return found


@pytest.fixture
def small(generator, raster):
    return smaller(generator, raster, shape=(LENGTH,), vocab=VOCAB, dtype=torch.float64)


MODELS = {
    "chain": ({}, RecursiveRejection(), 3),
    "chain, one draft": ({}, ModifiedRejection(), 1),
    "two by two": ({"branching": (2, 2)}, RecursiveRejection(), 6),
    "wide": ({"branching": (4, 2, 1)}, RecursiveRejection(), 20),
    "cut": ({"branching": (3, 2)}, RecursiveRejection(), 5),
    "with replacement": ({"branching": (2, 2), "replace": True}, RecursiveRejection(), 6),
    "two chains": ({"branching": (2,), "replace": True}, KSeq(), 6),
    "four chains": ({"branching": (4,), "replace": True}, KSeq(), 12),
    "beams": ({"beams": 3, "levels": 3}, RecursiveRejection(), 9),
    "all beams": ({"beams": 4, "levels": 2}, RecursiveRejection(), 8),
    "chosen": ({"branching": (2, 2)}, SampleMatch(), 6),
}
JACOBIS = {
    f"{coupling}-{initial}-{count}": JacobiDrafter(coupling, initial, count)
    for coupling, initial, count in (
        ("maximal", "uniform", 2),
        ("maximal", "last", 3),
        ("independent", "uniform", 3),
        ("gumbel", "last", 2),
    )
}
FAST = ("two by two", "two chains", "beams", "cut")


@pytest.mark.parametrize("name", FAST)
def test_trees_of_a_model_give_the_distribution_of_the_target(p_value, generator, small, name):
    options, rule, window = MODELS[name]
    sampler = SpeculativeSampler(drafter=ModelDrafter(small, **options), rule=rule, window=window)
    assert p_value(generator, sampler, ITEMS) > FALSE_ALARM
    assert 1.5 < sampler.statistics.tokens_per_pass <= LENGTH


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_trees_of_a_model_in_many_items(p_value, generator, small, name):
    options, rule, window = MODELS[name]
    sampler = SpeculativeSampler(drafter=ModelDrafter(small, **options), rule=rule, window=window)
    found = p_value(generator, sampler, MANY)
    print(f"{name}: p = {found:.3g}, {sampler.statistics.tokens_per_pass:.2f} tokens a pass")
    assert found > FALSE_ALARM


@pytest.mark.parametrize(("branching", "share"), [((), 0.85), ((2, 2), 0.95)])
def test_drafts_by_the_same_numbers_match(p_value, generator, small, branching, share):
    """Token for token with `GumbelMatch`, in distribution with rules that draw by other numbers."""
    condition, passes = torch.arange(300) % 3, {}
    for same in (False, True):
        drafter = ModelDrafter(small, branching=branching, same_numbers=same)
        sampler = SpeculativeSampler(drafter=drafter, window=6, guidance=GUIDED)
        plain = Sampler(guidance=GUIDED).generate(generator, condition, seed=1)
        assert torch.equal(sampler.generate(generator, condition, seed=1), plain)
        passes[same] = sampler.statistics.item_passes
    assert passes[True] < share * passes[False]
    sampler = SpeculativeSampler(drafter=drafter, rule=RecursiveRejection(), window=6)
    assert p_value(generator, sampler, ITEMS) > FALSE_ALARM
    with pytest.raises(ValueError, match="by the same numbers"):
        ModelDrafter(small, beams=2, same_numbers=True)


@pytest.mark.parametrize("name", ["maximal-uniform-2", "gumbel-last-2"])
def test_siblings_of_jacobi_drafts_give_the_distribution_of_the_target(p_value, generator, name):
    sampler = SpeculativeSampler(drafter=JACOBIS[name], rule=RecursiveRejection(), window=6)
    assert p_value(generator, sampler, ITEMS) > FALSE_ALARM


@pytest.mark.slow
@pytest.mark.parametrize("name", JACOBIS)
@pytest.mark.parametrize("rule", [RecursiveRejection(), SampleMatch()])
def test_siblings_of_jacobi_drafts_in_many_items(p_value, generator, name, rule):
    sampler = SpeculativeSampler(drafter=JACOBIS[name], rule=rule, window=9)
    found = p_value(generator, sampler, MANY)
    print(
        f"{name}, {type(rule).__name__}: p = {found:.3g}, "
        f"{sampler.statistics.tokens_per_pass:.2f} tokens a pass"
    )
    assert found > FALSE_ALARM


@pytest.mark.parametrize("guidance", [Guidance(), GUIDED], ids=["plain", "guided"])
def test_gumbel_match_draws_the_tokens_of_plain_sampling_through_trees(raster, guidance):
    shape = {"shape": (4, 4), "vocab": 8, "dtype": torch.float64}
    generator = raster(**shape)
    small = smaller(generator, raster, **shape)
    condition = torch.arange(8) % 3
    options = {"guidance": guidance, "warp": Warp(0.9, top_k=6)}
    plain = Sampler(**options).generate(generator, condition, seed=3)
    drafters = [
        ModelDrafter(small, branching=(3, 2), levels=4, guidance=guidance),
        ModelDrafter(small, beams=4, levels=3),
        ModelDrafter(small, branching=(2,), replace=True),
        ModelDrafter(small),
        JacobiDrafter("gumbel", siblings=3),
    ]
    for drafter in drafters:
        sampler = SpeculativeSampler(drafter=drafter, window=14, **options)
        assert torch.equal(sampler.generate(generator, condition, seed=3), plain)
        assert sampler.statistics.tokens == plain.numel()
        lengths = torch.arange(8) * 2
        given = PartialSequence(plain, torch.arange(16) < lengths[:, None])
        assert torch.equal(sampler.generate(generator, condition, seed=3, given=given), plain)


def test_a_drafter_that_is_the_target_is_always_right(raster):
    generator = raster(shape=(4, 4), vocab=8, dtype=torch.float64)
    drafter = ModelDrafter(generator, guidance=GUIDED)
    for rule in (RecursiveRejection(), KSeq(), ModifiedRejection()):
        sampler = SpeculativeSampler(drafter=drafter, rule=rule, window=4, guidance=GUIDED)
        sampler.generate(generator, torch.arange(6) % 3)
        found = sampler.statistics
        assert found.accepted == found.drafts
        assert found.passes == 1 + 3


def random_trees(rows: int, window: int) -> Tree:
    """Trees of any form, one of each row."""
    parents = torch.stack([torch.randint(0, entry + 1, (rows,)) for entry in range(window)], 1)
    return grown(parents, siblings=window, levels=window)


def test_a_tree_knows_its_paths():
    torch.manual_seed(0)
    tree = random_trees(50, 7)
    chosen = torch.rand(50, 7).argsort(1)[:, :4]
    accepted = torch.zeros(50, 7, dtype=torch.bool).scatter(1, chosen, True)
    tokens = torch.arange(8).expand(50, -1)
    elder = (tree.parents.unsqueeze(2) == tree.parents.unsqueeze(1)).tril(-1)
    accepted &= ~(elder & accepted.unsqueeze(1)).any(2)
    path, kept = tree.path(accepted)
    for row in range(50):
        parents = tree.parents[row].tolist()
        entry, walk = 0, [0]
        while True:
            following = [i + 1 for i, p in enumerate(parents) if p == entry and accepted[row, i]]
            if not following:
                break
            entry = following[0]
            walk.append(entry)
        assert path[row][kept[row]].tolist() == walk
        children = [[i for i, p in enumerate(parents) if p == one] for one in range(8)]
        assert [[c for c in one if c < 7] for one in tree.children[row].tolist()] == children
    window = Window(tree.parents.unsqueeze(-1), None, tree)
    assert torch.equal(matched(window, tokens.unsqueeze(-1)), tree.is_first())
    assert comb(3, 2, torch.device("cpu")).parents.tolist() == [[0, 0, 1, 1, 3, 3]]


@torch.no_grad()
def largest_difference(generator) -> float:
    """Of hidden vectors of random trees, of which random paths are kept, from those of one pass
    over the same tokens."""
    torch.manual_seed(1)
    window, rows = 6, torch.arange(4).unsqueeze(1)
    tokens, condition = torch.randint(5, (4, 12, 1)), torch.arange(4) % 3
    windows = RasterWindows(generator.backbone, condition, 12, window)
    windows.begin(tokens[:, :2])
    lengths, differences = torch.full((4,), 2), []
    for _ in range(7):
        tree, root = random_trees(4, window), lengths.unsqueeze(1) - 1
        entries = torch.cat([tokens[rows, root], torch.randint(5, (4, window, 1))], 1)
        positions = root + tree.depths
        found = windows.hidden(entries, positions, ancestors=tree.ancestors)
        for row, entry in product(range(4), range(window + 1)):
            position = int(positions[row, entry])
            if position < 11:
                item, line = tokens[row].clone(), tree.ancestors[row, entry]
                item[positions[row, line]] = entries[row, line]
                whole = generator.predictions(item[None], condition[row : row + 1]).hidden
                differences.append(float((found[row, entry] - whole[position + 1]).abs().max()))
        path, kept = tree.path(tree.is_first() & (torch.rand(4, window) < 0.8))
        windows.keep(root, path)
        inside = kept & (root + torch.arange(window + 1) < 12)
        for row in range(4):
            line = path[row][inside[row]]
            tokens[row, positions[row, line]] = entries[row, line]
        lengths = lengths + torch.minimum(kept.sum(1), 11 - lengths)
    assert int(lengths.min()) > 6 and len(differences) > 50
    return max(differences)


@pytest.mark.parametrize(
    "options", [{"prefix": 3}, {"rotary": "line"}, {"learned_positions": True}]
)
def test_trees_find_what_one_pass_finds_after_any_path(raster, options):
    generator = raster(shape=(3, 4), vocab=5, dtype=torch.float64, **options)
    assert largest_difference(generator) < 1e-9


@pytest.mark.parametrize("name", ["nothing moves", "all see all"])
def test_the_difference_shows_wrong_caches(monkeypatch, raster, name):
    if name == "nothing moves":
        monkeypatch.setattr(RasterWindows, "keep", lambda self, root, path: None)
    else:
        all_see_all(monkeypatch)
    generator = raster(shape=(3, 4), vocab=5, dtype=torch.float64)
    assert largest_difference(generator) > 1e-3


def test_rules_that_judge_chains_refuse_trees(generator, small, masked):
    sampler = SpeculativeSampler(
        drafter=JacobiDrafter(siblings=2), rule=ModifiedRejection(), window=4
    )
    with pytest.raises(ValueError, match="judges one draft of a token"):
        sampler.generate(generator, torch.zeros(1, dtype=torch.int64))
    sampler = SpeculativeSampler(drafter=ModelDrafter(small, branching=(2,)), rule=KSeq(), window=4)
    with pytest.raises(ValueError, match="independently"):
        sampler.generate(generator, torch.zeros(1, dtype=torch.int64))
    with pytest.raises(ValueError, match="row by row"):
        ModelDrafter(masked())
    with pytest.raises(ValueError, match="1 to 4 drafts"):
        ModelDrafter(small, branching=(5,))
    with pytest.raises(ValueError, match="beams"):
        ModelDrafter(small, beams=2, branching=(2,))


def test_other_tokens_are_no_drafts(raster, small):
    other = raster(shape=(LENGTH,), vocab=5, dtype=torch.float64)
    with pytest.raises(ValueError, match="no drafts for"):
        SpeculativeSampler(drafter=ModelDrafter(small)).generate(
            other, torch.zeros(1, dtype=torch.int64)
        )


def all_see_all(monkeypatch):
    """Drafts attend to all drafts before them, not only to those that they follow."""
    right = RasterWindows.hidden

    def hidden(self, tokens, positions, *, ancestors=None, root=None):
        if ancestors is not None:
            extra = ancestors.shape[2] - ancestors.shape[1]
            ancestors = torch.ones_like(ancestors).tril(extra)
        return right(self, tokens, positions, ancestors=ancestors, root=root)

    monkeypatch.setattr(RasterWindows, "hidden", hidden)


def no_rollback(monkeypatch):
    """The first siblings are kept, whether they were accepted or not."""
    right = Tree.path
    monkeypatch.setattr(Tree, "path", lambda self, accepted: right(self, self.is_first()))


def bonus_from_drafts(monkeypatch):
    """The token behind the last drafts comes from the drafter's distribution."""
    right = RecursiveRejection.verify

    def verify(self, window, target, draws):
        if window.tree is not None:
            leaf = (window.tree.children[..., 0] == window.tokens.shape[1]).unsqueeze(-1)
            pairs = zip(target, window.log_probs, strict=True)
            target = [torch.where(leaf, torch.cat([q[:, :1], q], 1), p) for p, q in pairs]
        return right(self, window, target, draws)

    monkeypatch.setattr(RecursiveRejection, "verify", verify)


def undisclosed(monkeypatch):
    """Siblings come from another distribution than the one that is recorded."""
    right = siblings.without_replacement

    def without_replacement(log_probs, keys, count):
        ids, laws = right(log_probs, keys, count)
        others = (-log_probs).scatter(-1, ids[..., :1], -torch.inf).log_softmax(-1)
        drawn, _ = right(others, keys + 1, count - 1)
        return torch.cat([ids[..., :1], drawn], -1), laws

    monkeypatch.setattr(siblings, "without_replacement", without_replacement)


def law_of_the_first(monkeypatch):
    """All siblings are recorded as the first of them."""
    right = siblings.without_replacement

    def without_replacement(log_probs, keys, count):
        ids, laws = right(log_probs, keys, count)
        return ids, laws[..., :1, :].expand_as(laws)

    monkeypatch.setattr(siblings, "without_replacement", without_replacement)


def longest(monkeypatch):
    """A tree is judged twice, and the verdict that keeps more is taken."""
    right = RecursiveRejection.verify

    def verify(self, window, target, draws):
        one = right(self, window, target, draws)
        if window.tree is None:
            return one
        other = right(self, window, target, draws._replace(round=draws.round + 1000))
        count = [window.tree.path(found.accepted)[1].sum(1) for found in (one, other)]
        better = (count[1] > count[0])[:, None]
        return Verdict(
            torch.where(better, other.accepted, one.accepted),
            torch.where(better[..., None], other.tokens, one.tokens),
        )

    monkeypatch.setattr(RecursiveRejection, "verify", verify)


WRONG = {
    change.__name__.replace("_", " "): change
    for change in (
        all_see_all,
        no_rollback,
        bonus_from_drafts,
        undisclosed,
        law_of_the_first,
        longest,
    )
}


@pytest.mark.parametrize("name", WRONG)
def test_the_test_fails_on_wrong_samplers(p_value, monkeypatch, generator, raster, name):
    small = smaller(generator, raster, 0.5, shape=(LENGTH,), vocab=VOCAB, dtype=torch.float64)
    drafter = ModelDrafter(small, branching=(3, 2))
    sampler = SpeculativeSampler(drafter=drafter, rule=RecursiveRejection(), window=9)
    WRONG[name](monkeypatch)
    assert p_value(generator, sampler, ITEMS) < FALSE_ALARM


@pytest.mark.parametrize("name", ["model", "table"])
def test_rows_that_begin_anew_draw_the_tokens_of_plain_sampling(raster, name):
    shape = {"shape": (3, 3), "vocab": 6, "dtype": torch.float64}
    generator = raster(**shape)
    condition = torch.arange(9) % 3
    plain = Sampler().generate(generator, condition, seed=5)
    drafter = AdjacencyDrafter((2, 1))
    if name == "model":
        drafter = ModelDrafter(smaller(generator, raster, **shape), branching=(2, 1))
    sampler = SpeculativeSampler(drafter=drafter, window=4)
    found = list(sampler.generate_many(generator, condition, batch_size=3, seed=5))
    assert torch.equal(torch.stack(found), plain)
