"""Rules of acceptance for ids, each broken in every way in which it can be: the tests see it.

The table of `docs/samplers.md` has these pairs of a rule and a mutant, and those for vectors.
"""

import importlib.util
import re
from pathlib import Path

import pytest
import torch
from scipy.stats import chi2

from intaglio.generators.heads.independent import race
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.samplers.acceptance import multi_draft
from intaglio.generators.samplers.acceptance.base import Verdict, Window, ratio, residual
from intaglio.generators.samplers.acceptance.codes import nearest_codes, overlapping
from intaglio.generators.samplers.acceptance.exact import GumbelMatch, ModifiedRejection
from intaglio.generators.samplers.acceptance.grouped import CoarseGrained, Grouped
from intaglio.generators.samplers.acceptance.multi_draft import (
    KSeq,
    RecursiveRejection,
    SampleMatch,
)
from intaglio.generators.samplers.acceptance.neighbours import LatentNeighbour
from intaglio.generators.samplers.acceptance.relaxed import Annealed, TVBudget, at, certain
from intaglio.generators.samplers.acceptance.tree import grown
from intaglio.generators.samplers.batch import DraftedBatch
from intaglio.generators.samplers.drafters import jacobi
from intaglio.generators.samplers.drafters.jacobi import JacobiDrafter
from intaglio.generators.samplers.drafters.siblings import without_replacement
from intaglio.generators.samplers.speculative import SpeculativeSampler

IDS, CALLS = 8, 8_000
VOCAB, LENGTH, ITEMS, FEWER = 3, 5, 5_000, 2_000
FALSE_ALARM = 1e-6  # of a test
PAGE = Path(__file__).parents[3] / "docs" / "samplers.md"
CODES = torch.randn(IDS, 2, generator=torch.Generator().manual_seed(7)).double()

RULES = {
    "gumbel": GumbelMatch(),
    "match": SampleMatch(),
    "rejection": ModifiedRejection(),
    "recursive": RecursiveRejection(),
    "k-seq": KSeq(),
    "budget": TVBudget(0.05),
    "annealed": Annealed(1.1),
    "grouped": Grouped([CODES], size=2),
    "coarse": CoarseGrained([overlapping(CODES, 4, shared=2).double()]),
    "neighbour": LatentNeighbour([nearest_codes(CODES, 2)], factor=1.3),
}
EXACT = {  # settings of approximate rules with which they are exact
    "budget": TVBudget(0),
    "annealed": Annealed(1),
    "grouped": Grouped([torch.zeros(VOCAB, 1)], size=1),
    "coarse": CoarseGrained([torch.eye(VOCAB)]),
    "neighbour": LatentNeighbour([nearest_codes(CODES[:VOCAB], 1)], factor=1),
}


def pair(seed):
    """Target and draft distributions, float64 [ids]."""
    torch.manual_seed(seed)
    return torch.distributions.Dirichlet(torch.ones(IDS).double()).sample((2,))


def window_of(rule, q, other=None):
    """Drafts of one token from q, three of them for rules that take siblings; the last is from
    another distribution, if there is one, that is not recorded."""
    draws = Draws(torch.arange(CALLS), torch.zeros(1, 1, dtype=torch.int64), 1)
    law = q.log().expand(CALLS, 1, IDS)
    independent = isinstance(rule, KSeq)
    if not isinstance(rule, KSeq | RecursiveRejection):
        return Window(race([law], draws.keys(Role.DRAFT)), [law])
    tree = grown(torch.zeros(1, 3).long(), siblings=3, levels=1, independent=independent)
    keys = draws.keys(Role.DRAFT, 3)[:, 0]
    if independent:
        laws = law.expand(-1, 3, -1)
        ids = race([laws], keys.unsqueeze(-1))[..., 0]
    else:
        ids, laws = without_replacement(law[:, 0], keys[:, 0], 3)
    if other is not None:
        key = draws._replace(round=7).keys(Role.DRAFT)
        ids = torch.cat([ids[:, :2], race([other.log().expand(CALLS, 1, IDS)], key)[..., 0]], 1)
    return Window(ids.unsqueeze(-1), [laws], tree)


def stated(rule, p, q):
    """The distribution of a token that the rule promises, [ids]."""
    if rule.exact:
        return p
    target, drafted = (one.log().expand(IDS, 1, IDS) for one in (p, q))
    keep, instead, *_ = rule.judge(target, drafted, torch.arange(IDS)[:, None], group=0)
    kept = q * keep[:, 0]
    return kept + (1 - kept.sum()) * instead[0, 0].softmax(-1)


def p_value(rule, p, window, law):
    """Of a chi-square test of what a rule emits."""
    count = window.tokens.shape[1]
    draws = Draws(torch.arange(CALLS), torch.tensor([[0, *[1] * count]]), 1)
    verdict = rule.verify(window, [p.log().expand(CALLS, count + 1, IDS)], draws)
    counts = verdict.tokens[:, 0, 0].bincount(minlength=IDS).double()
    statistic = ((counts - CALLS * law).square() / (CALLS * law)).sum()
    return float(chi2.sf(float(statistic), IDS - 1))


def largest(p, q):
    return certain(p, (p.exp() - q.exp()).argmax(-1))


def zeros(p, q):
    return certain(p, torch.zeros(p.shape[:-1], dtype=torch.int64, device=p.device))


RESIDUALS = {
    "target": lambda p, q: p,
    "distance": lambda p, q: (p.exp() - q.exp()).abs().log(),
    "largest": largest,
    "zeros": zeros,
}


def broken(monkeypatch, name, mutant):
    """Replace a part of the rule."""
    if name in ("recursive", "k-seq"):
        if mutant == "inverted":
            right = multi_draft.probability
            monkeypatch.setattr(multi_draft, "probability", lambda law, ids: 1 / right(law, ids))
        elif name == "recursive":
            monkeypatch.setattr(multi_draft, "residual", RESIDUALS[mutant])
        else:
            wrong = RESIDUALS[mutant]
            monkeypatch.setattr(
                multi_draft, "sequential_residual", lambda p, q, *_: wrong(p.log(), q.log())
            )
        return
    kind = type(RULES[name])
    judge = kind.judge

    def changed(self, p, q, x, *, group):
        found = judge(self, p, q, x, group=group)
        if mutant != "inverted":
            return found._replace(instead=RESIDUALS[mutant](p, q))
        if name == "rejection":
            return found._replace(keep=ratio(at(q, x).exp(), at(p, x).exp()))
        return found._replace(keep=judge(self, q, p, x, group=group).keep)

    monkeypatch.setattr(kind, "judge", changed)


JUDGING = [name for name in RULES if name not in ("gumbel", "match")]
OF_A_TOKEN = [(name, mutant) for name in JUDGING for mutant in (*RESIDUALS, "inverted")]
SEEDS = range(3)


@pytest.mark.parametrize("rule", RULES)
def test_tokens_have_the_stated_distribution(rule):
    for seed in SEEDS:
        p, q = pair(seed)
        found = RULES[rule]
        assert p_value(found, p, window_of(found, q), stated(found, p, q)) > FALSE_ALARM


@pytest.mark.parametrize(("rule", "mutant"), OF_A_TOKEN)
def test_a_token_shows_wrong_rules(monkeypatch, rule, mutant):
    found = RULES[rule]
    given = [(*pair(seed), stated(found, *pair(seed))) for seed in SEEDS]
    broken(monkeypatch, rule, mutant)
    assert any(p_value(found, p, window_of(found, q), law) < FALSE_ALARM for p, q, law in given)


@pytest.mark.parametrize(("rule", "mutant"), [("recursive", "siblings"), ("k-seq", "siblings")])
def test_siblings_show_a_distribution_that_is_not_recorded(rule, mutant):
    """The last sibling comes from what the target had more than the drafts one round before, and
    is recorded as drawn like the others."""

    def value(seed):
        p, q = pair(seed)
        other = residual(q.log(), pair(seed + 10)[0].log()).softmax(-1)
        return p_value(RULES[rule], p, window_of(RULES[rule], q, other), p)

    assert any(value(seed) < FALSE_ALARM for seed in SEEDS)


def changed_verify(change):
    """A mutant that judges other windows or targets."""

    def apply(monkeypatch, kind):
        right = kind.verify
        monkeypatch.setattr(
            kind, "verify", lambda self, *given: change(lambda *args: right(self, *args), *given)
        )

    return apply


def bonus(right, window, target, draws):
    """The token behind the drafts comes from the drafter's distribution."""
    if window.tokens.shape[1]:
        pairs = zip(target, window.log_probs, strict=True)
        target = [torch.cat([p[:, :-1], q[:, -1:]], 1) for p, q in pairs]
    return right(window, target, draws)


def shifted(right, window, target, draws):
    """Drafts are judged by the distributions one position further."""
    return right(window, [one.roll(-1, 1) for one in target], draws)


def longest(right, window, target, draws):
    """Two rows are judged, and the one that keeps more drafts is taken."""
    one, other = (
        right(window, target, draws),
        right(window, target, draws._replace(round=draws.round + 1000)),
    )
    runs = [found.accepted.long().cumprod(1).sum(1) for found in (one, other)]
    better = (runs[1] > runs[0])[:, None]
    return Verdict(
        torch.where(better, other.accepted, one.accepted),
        torch.where(better[..., None], other.tokens, one.tokens),
    )


def no_rollback(monkeypatch, kind):
    """All drafts are kept, whether those before them are or not."""
    right = DraftedBatch.commit

    def commit(self, window, verdict, positions):
        kept = torch.ones_like(verdict.accepted)
        return right(self, window, verdict._replace(accepted=kept), positions)

    monkeypatch.setattr(DraftedBatch, "commit", commit)


def stale(monkeypatch, kind):
    """A kept token has the distribution that it was first drawn from, as in released code."""
    right = jacobi._JacobiDrafting.propose

    def propose(self, prefix, draws):
        before = getattr(self, "window_before", None)
        window = right(self, prefix, draws)
        if before is not None:
            size = window.tokens.shape[1]
            kept = self.last.kept.unsqueeze(1) + torch.arange(size)
            index = kept.clamp_max(size - 1).unsqueeze(-1)
            same = (kept < size) & self.last.verdict.accepted.gather(1, index[..., 0])
            window = window._replace(
                log_probs=[
                    torch.where(same.unsqueeze(-1), old.take_along_dim(index, 1), new)
                    for old, new in zip(before.log_probs, window.log_probs, strict=True)
                ]
            )
        self.window_before = window
        return window

    monkeypatch.setattr(jacobi._JacobiDrafting, "propose", propose)


OF_ITEMS = {
    "bonus": changed_verify(bonus),
    "stale": stale,
    "shifted": changed_verify(shifted),
    "rollback": no_rollback,
    "longest": changed_verify(longest),
}
UNSEEN = {("gumbel", "stale"), ("match", "stale"), ("gumbel", "longest")}
OF_AN_ITEM = [(name, mutant) for name in RULES for mutant in OF_ITEMS]


@pytest.fixture
def p_value_of_items(p_value, raster):
    """Of a chi-square test of all items; approximate rules are set to be exact."""
    generator = raster(shape=(LENGTH,), vocab=VOCAB, dtype=torch.float64)

    def found(rule, coupling, window, items):
        drafter, judge = JacobiDrafter(coupling, "uniform"), EXACT.get(rule, RULES[rule])
        sampler = SpeculativeSampler(drafter=drafter, rule=judge, window=window)
        return p_value(generator, sampler, items)

    return found


@pytest.mark.parametrize("rule", EXACT)
def test_approximate_rules_are_exact_where_they_should_be(p_value_of_items, rule):
    assert p_value_of_items(rule, "maximal", 3, ITEMS) > FALSE_ALARM


@pytest.mark.parametrize(("rule", "mutant"), [one for one in OF_AN_ITEM if one not in UNSEEN])
def test_items_show_wrong_rules(p_value_of_items, monkeypatch, rule, mutant):
    OF_ITEMS[mutant](monkeypatch, type(RULES[rule]))
    coupling = "maximal" if mutant == "stale" else "independent"
    items = FEWER if mutant in ("shifted", "rollback") else ITEMS
    window = 1 if mutant == "bonus" else 3
    assert p_value_of_items(rule, coupling, window, items) < FALSE_ALARM


def cases(name):
    """The pairs of a rule and a mutant that a test is run with."""
    file, function = name.split("::")
    spec = importlib.util.spec_from_file_location(file[:-3], Path(__file__).with_name(file))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for mark in getattr(module, function).pytestmark:
        if mark.name == "parametrize" and mark.args[0] == ("rule", "mutant"):
            return set(mark.args[1])
    return set()


def test_the_table_of_the_docs_names_tests_that_exist():
    section = PAGE.read_text().split("## Wrong rules")[1].split("\n## ")[0]
    tests = {
        letter: cases(name) for letter, name in re.findall(r"^- ([A-Z]): `(.+)`", section, re.M)
    }
    reasons = set(re.findall(r"^- (\d): ", section, re.M))
    header, _, *rows = (
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|")
    )
    assert {row[0] for row in rows} == {*RULES, "MixtureRejection", "ReflectionCoupling"}
    assert set(header[1:]) == set(re.findall(r"^- ([a-z ]+): ", section, re.M))
    used = set()
    for rule, *cells in rows:
        for mutant, cell in zip(header[1:], cells, strict=True):
            used.add(cell.lstrip("-"))
            if cell.startswith("-"):
                assert cell[1:] in reasons, (rule, mutant)
                assert not any((rule, mutant) in found for found in tests.values())
            else:
                assert (rule, mutant) in tests[cell], (rule, mutant)
    assert used == {*tests, *reasons}
