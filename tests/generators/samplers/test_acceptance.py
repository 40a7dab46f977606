"""Rules of acceptance: the distribution of what they emit, and tests that wrong rules fail."""

import importlib
import pkgutil

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from intaglio.generators.heads.independent import race
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.samplers import acceptance
from intaglio.generators.samplers.acceptance import base, exact
from intaglio.generators.samplers.acceptance.base import Window
from intaglio.generators.samplers.acceptance.exact import GumbelMatch, ModifiedRejection

VOCAB, CALLS = 8, 20_000
FALSE_ALARM = 1e-6  # of a test
NAMES = ("close", "medium", "far")  # of pairs
EDGES = ("equal", "disjoint", "certain draft", "certain target", "narrow draft")


def emitted(rule, given, groups: int = 1):
    """Accepted [calls] and tokens [calls, groups] of the first position of windows of one."""
    draws = Draws(torch.arange(CALLS), torch.tensor([[0, 1]]), 1)
    q = given.q.log().expand(CALLS, 1, VOCAB)
    tokens = race([q] * groups, draws.keys(Role.DRAFT, groups)[:, :1])
    target = [given.p.log().expand(CALLS, 2, VOCAB)] * groups
    verdict = rule.verify(Window(tokens, [q] * groups), target, draws)
    assert torch.equal(
        verdict.tokens[:, 0][verdict.accepted[:, 0]], tokens[:, 0][verdict.accepted[:, 0]]
    )
    return verdict.accepted[:, 0], verdict.tokens[:, 0], verdict.tokens[:, 1]


def p_value(ids: Tensor, distribution: Tensor) -> float:
    """Of a chi-square test; 0 if something impossible was drawn."""
    counts = ids.bincount(minlength=len(distribution)).double()
    possible = distribution > 0
    if counts[~possible].any():
        return 0.0
    expected = len(ids) * distribution[possible]
    statistic = ((counts[possible] - expected).square() / expected).sum()
    return float(chi2.sf(float(statistic), int(possible.sum()) - 1))


@pytest.mark.parametrize("name", NAMES)
def test_modified_rejection_emits_the_target_and_accepts_as_much_as_can_be(pairs, name):
    given = pairs[name]
    accepted, tokens, bonus = emitted(ModifiedRejection(), given)
    assert p_value(tokens[:, 0], given.p) > FALSE_ALARM
    assert p_value(bonus[:, 0], given.p) > FALSE_ALARM
    variation = float((given.p - given.q).abs().sum()) / 2
    error = (variation * (1 - variation) / CALLS) ** 0.5
    assert abs(float(accepted.double().mean()) - (1 - variation)) < 5 * error


def test_groups_are_judged_separately_and_kept_where_they_are_accepted(pairs):
    given = pairs["far"]
    accepted, tokens, _ = emitted(ModifiedRejection(), given, groups=2)
    joint = (given.p[:, None] * given.p).flatten()
    assert p_value(tokens[:, 0] * VOCAB + tokens[:, 1], joint) > FALSE_ALARM
    share = 1 - float((given.p - given.q).abs().sum()) / 2
    assert abs(float(accepted.double().mean()) - share**2) < 5 * (0.25 / CALLS) ** 0.5


@pytest.mark.parametrize("name", EDGES)
def test_edges(edges, name):
    given = edges[name]
    share = min(1.0, float(torch.minimum(given.p, given.q).sum()))
    accepted, tokens, _ = emitted(ModifiedRejection(), given)
    assert abs(float(accepted.double().mean()) - share) <= 5 * (share * (1 - share) / CALLS) ** 0.5
    if name == "certain target":
        assert bool((tokens == 3).all())
    else:
        assert p_value(tokens[:, 0], given.p) > FALSE_ALARM


def test_drafts_of_unknown_origin_are_judged_as_the_only_ones_that_could_come(pairs):
    given = pairs["far"]
    draws = Draws(torch.arange(CALLS), torch.tensor([[0, 1]]), 1)
    tokens = race([given.q.log().expand(CALLS, 1, VOCAB)], draws.keys(Role.DRAFT)[:, :1])
    target = [given.p.log().expand(CALLS, 2, VOCAB)]
    verdict = ModifiedRejection().verify(Window(tokens, None), target, draws)
    assert p_value(verdict.tokens[:, 0, 0], given.p) > FALSE_ALARM
    share = float((given.p * given.q).sum())
    kept = float(verdict.accepted.double().mean())
    assert abs(kept - share) < 5 * (share * (1 - share) / CALLS) ** 0.5


def test_gumbel_match_gives_the_tokens_of_plain_drawing_whatever_is_drafted(pairs):
    given = pairs["far"]
    draws = Draws(torch.arange(CALLS), torch.tensor([[0]]))
    plain = race([given.p.log().expand(CALLS, 1, VOCAB)], draws.keys(Role.TOKEN))
    accepted, tokens, _ = emitted(GumbelMatch(), given)
    assert torch.equal(tokens, plain[:, 0])
    assert p_value(tokens[:, 0], given.p) > FALSE_ALARM
    assert 0 < int(accepted.sum()) < CALLS


def test_rules_say_first_whether_they_are_exact():
    for module in pkgutil.iter_modules(acceptance.__path__):
        importlib.import_module(f"{acceptance.__name__}.{module.name}")
    kinds, found = [base.AcceptanceRule], set()
    while kinds:
        kinds += (subs := kinds.pop().__subclasses__())
        found |= {one for one in subs if one.__module__.startswith(acceptance.__name__)}
    rules = [one for one in found if hasattr(one, "exact")]
    assert len(rules) >= 7 and ModifiedRejection in rules
    for rule in rules:
        word = "Exact: " if rule.exact else "Approximate: "
        assert (rule.__doc__ or "").startswith(word), rule.__name__


def wrong_residual(change):
    """`residual` with another excess of p over q."""

    def residual(p: Tensor, q: Tensor) -> Tensor:
        return change(p.exp(), q.exp()).clamp_min(1e-300).log()

    return residual


RESIDUALS = {
    "p": lambda p, q: p,
    "distance": lambda p, q: (p - q).abs(),
    "largest": lambda p, q: torch.where(p - q == (p - q).amax(-1, keepdim=True), 1.0, 0.0).double(),
    "reversed": lambda p, q: (q - p).clamp_min(0),
}


@pytest.mark.parametrize("name", RESIDUALS)
def test_the_test_fails_on_wrong_residuals(pairs, monkeypatch, name):
    monkeypatch.setattr(exact, "residual", wrong_residual(RESIDUALS[name]))
    worst = min(
        p_value(emitted(ModifiedRejection(), one)[1][:, 0], one.p) for one in pairs.values()
    )
    assert worst < FALSE_ALARM


@pytest.mark.parametrize("name", ["inverted", "square root", "always"])
def test_the_test_fails_on_wrong_ratios(pairs, monkeypatch, name):
    right = base.probability

    def probability(log_probs: Tensor, ids: Tensor) -> Tensor:
        found = right(log_probs, ids)
        of_target = bool((log_probs[0, 0] == given.p.log()).all())
        if name == "inverted":
            return 1 / found
        if name == "always":
            return found + (1.0 if of_target else 0.0)
        return found.sqrt()

    monkeypatch.setattr(exact, "probability", probability)
    worst = 1.0
    for given in pairs.values():
        worst = min(worst, p_value(emitted(ModifiedRejection(), given)[1][:, 0], given.p))
    assert worst < FALSE_ALARM
