"""Rules for vectors: the distribution of what they emit, and tests that wrong rules fail."""

import math

import pytest
import torch
from scipy.stats import ks_2samp, kstest, norm

from intaglio.generators.heads import densities
from intaglio.generators.heads.ancestral import DiffusionStep, ancestral
from intaglio.generators.heads.densities import GaussianMixture
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.samplers.acceptance import continuous
from intaglio.generators.samplers.acceptance.base import Window
from intaglio.generators.samplers.acceptance.continuous import (
    ContinuousRule,
    MixtureRejection,
    ReflectionCoupling,
    reflected,
)

CALLS, FEWER = 20_000, 8_000
FALSE_ALARM = 1e-6  # of a test


def mixture(*components, weights=(1.0,)):
    """Of components (mean, std), each a number or a list of channels; float64."""
    mean, std = (
        torch.tensor([one[part] for one in components], dtype=torch.float64).view(
            len(components), -1
        )
        for part in (0, 1)
    )
    return GaussianMixture(torch.tensor(weights, dtype=torch.float64).log(), mean, std.log())


def everywhere(law, calls, positions):
    return GaussianMixture(*(one.expand(calls, positions, *one.shape) for one in law))


def emitted(rule, p, q, calls=CALLS):
    """Accepted [calls] and tokens [calls, 2, channels] of windows of one draft."""
    draws = Draws(torch.arange(calls), torch.tensor([[0, 1]]), 1)
    law = everywhere(q, calls, 1)
    tokens = law.sample(draws._replace(positions=draws.positions[:, :1]), Role.DRAFT)
    verdict = rule.verify(Window(tokens, None, law=law), everywhere(p, calls, 2), draws)
    kept = verdict.accepted[:, 0]
    assert torch.equal(verdict.tokens[:, 0][kept], tokens[:, 0][kept])
    return kept, verdict.tokens


def uniforms(law, tokens):
    """Conditional distribution functions of the channels, uniform and independent of each other
    if tokens [calls, channels] are those of the law (Rosenblatt, 1952)."""
    weights = law.log_weights.expand(len(tokens), -1)
    z = (tokens.unsqueeze(1) - law.mean) * (-law.log_std).exp()  # [calls, components, channels]
    found = []
    for channel in range(tokens.shape[1]):
        share = weights.softmax(-1)
        found.append((share * torch.special.ndtr(z[..., channel])).sum(-1))
        weights = weights - z[..., channel].square() / 2 - law.log_std[:, channel]
    return torch.stack(found, 1)


def p_value(law, tokens):
    """The smallest of Kolmogorov-Smirnov tests of the channels, times their number."""
    found = uniforms(law, tokens)
    return min(kstest(one.numpy(), "uniform").pvalue for one in found.unbind(1)) * found.shape[1]


NORMAL = mixture((0.0, 1.0))
LAWS = {  # target and draft
    "wider": (NORMAL, mixture((0.8, 1.2))),
    "near": (NORMAL, mixture((0.3, 1.0))),
    "far": (NORMAL, mixture((1.5, 0.8))),
    "two bumps": (
        mixture((-1.0, 0.5), (1.2, 0.8), weights=(0.3, 0.7)),
        mixture((-0.6, 0.7), (1.6, 0.6), (0.0, 2.0), weights=(0.5, 0.3, 0.2)),
    ),
    "three channels": (
        mixture(([0.0, 1.0, -1.0], [1.0, 0.5, 0.7]), ([1.0, 0.0, 0.5], [0.6, 1.0, 1.0])),
        mixture(([0.3, 0.7, -0.8], [1.1, 0.6, 0.7]), ([0.5, 0.0, 0.0], [0.7, 0.8, 1.0])),
    ),
}
LAWS["three channels"] = tuple(
    one._replace(log_weights=torch.tensor([0.4, 0.6]).double().log())
    for one in LAWS["three channels"]
)
EQUAL = {
    "near": (NORMAL, mixture((0.3, 1.0))),
    "far": (mixture((0.5, 0.7)), mixture((-0.8, 0.7))),
    "16 channels": (
        mixture((torch.linspace(-1, 1, 16).tolist(), torch.linspace(0.5, 2, 16).tolist())),
        mixture((torch.linspace(-0.8, 1.3, 16).tolist(), torch.linspace(0.5, 2, 16).tolist())),
    ),
}


def along(p, q, tokens):
    """P-value of the tokens projected on the direction from one mean to the other."""
    std = p.log_std[0].exp()
    distance = (q.mean - p.mean)[0] / std
    return kstest(
        ((tokens - p.mean[0]) / std @ (distance / distance.norm())).numpy(), "norm"
    ).pvalue


@pytest.mark.parametrize("name", LAWS)
def test_rejection_emits_the_target(name):
    p, q = LAWS[name]
    _, tokens = emitted(MixtureRejection(), p, q)
    assert p_value(p, tokens[:, 0]) > FALSE_ALARM
    assert p_value(p, tokens[:, 1]) > FALSE_ALARM  # the token behind the drafts


@pytest.mark.parametrize("rule", [MixtureRejection(), ReflectionCoupling()])
@pytest.mark.parametrize("name", EQUAL)
def test_equal_spreads(name, rule):
    """Emits the target, and accepts as much as can be: 2 * Phi(-distance / 2)."""
    p, q = EQUAL[name]
    accepted, tokens = emitted(rule, p, q)
    assert p_value(p, tokens[:, 0]) > FALSE_ALARM
    assert along(p, q, tokens[:, 0]) > FALSE_ALARM
    distance = float(((q.mean - p.mean) / p.log_std.exp()).norm())
    share = 2 * norm.cdf(-distance / 2)
    error = (share * (1 - share) / CALLS) ** 0.5
    assert abs(float(accepted.double().mean()) - share) < 4 * error


@pytest.mark.parametrize("rule", [MixtureRejection(), ReflectionCoupling()])
def test_equal_laws_keep_every_draft_and_far_ones_none(rule):
    accepted, _ = emitted(rule, NORMAL, NORMAL, 1000)
    assert bool(accepted.all())
    p, q = mixture(([0.0] * 64, [0.01] * 64)), mixture(([5.0] * 64, [0.01] * 64))
    accepted, tokens = emitted(rule, p, q, 1000)
    assert not bool(accepted.any()) and bool(tokens.isfinite().all())
    assert abs(float((tokens[:, 0] / 0.01).std()) - 1) < 0.02


def test_drafts_of_unknown_origin_are_not_kept():
    draws = Draws(torch.arange(CALLS), torch.tensor([[0, 1]]), 1)
    target = everywhere(NORMAL, CALLS, 2)
    verdict = MixtureRejection().verify(
        Window(torch.zeros(CALLS, 1, 1).double(), None), target, draws
    )
    assert not bool(verdict.accepted.any())
    assert p_value(NORMAL, verdict.tokens[:, 0]) > FALSE_ALARM
    plain = target.sample(draws._replace(round=0))
    assert torch.equal(verdict.tokens[:, 1], plain[:, 1])


def test_numbers_of_acceptance_and_residual_are_independent_of_the_draft():
    """Correlations of what is emitted at the next position, and of numbers, within 4 errors."""
    draws = Draws(torch.arange(CALLS), torch.tensor([[0]]), 1)
    numbers = [draws.uniform(Role.ACCEPTANCE)[:, 0, 0]]
    numbers += [draws.uniform(role, 2)[:, 0, -1] for role in (Role.DRAFT, Role.NOISE)]
    numbers.append(draws.uniform(Role.RESIDUAL)[:, 0, 0])
    found = torch.corrcoef(torch.stack(numbers)) - torch.eye(4)
    assert float(found.abs().max()) < 4 / CALLS**0.5


def test_a_residual_that_rounding_hides_is_drawn_from_the_target(monkeypatch):
    monkeypatch.setattr(densities, "MOST_TRIES", 64)
    p = everywhere(NORMAL, 500, 1)
    found = p.residual(
        p, torch.ones(500, 1, dtype=torch.bool), Draws(torch.arange(500), torch.tensor([[0]]), 1)
    )
    assert p_value(NORMAL, found[:, 0]) > FALSE_ALARM


def test_reflection_refuses_what_it_cannot_mirror():
    for p, q in (LAWS["wider"], LAWS["two bumps"]):
        with pytest.raises(ValueError, match="single Gaussians of equal spread"):
            emitted(ReflectionCoupling(), p, q, 10)


def distance(monkeypatch):
    """Candidates are taken by |p - q|, not by the positive part."""
    right = GaussianMixture._tries

    def tries(p, q, draws, first, count):
        tokens, _ = right(p, q, draws, first, count)
        share = torch.expm1(q.log_prob(tokens) - p.log_prob(tokens)).abs()
        number = draws._replace(round=77).uniform(Role.RESIDUAL, count, first=first)[:, 0]
        return tokens, number < share

    monkeypatch.setattr(GaussianMixture, "_tries", tries)


def zeros(monkeypatch):
    """A residual that has not been drawn after eight tries is zeros, as in released code."""
    right = GaussianMixture._tries

    def tries(p, q, draws, first, count):
        tokens, taken = right(p, q, draws, first, count)
        if first:
            return torch.zeros_like(tokens), torch.ones_like(taken)
        return tokens, taken

    monkeypatch.setattr(GaussianMixture, "_tries", tries)


def ratio(change):
    def apply(monkeypatch):
        right = continuous.log_ratio
        monkeypatch.setattr(continuous, "log_ratio", lambda p, q, x: change(right(p, q, x)))

    return apply


def instead(change):
    """Tokens in place of rejected drafts are others; ``change`` takes p, q, tokens and draws."""

    def apply(monkeypatch):
        def changed(self, tokens, rejected, laws, draws):
            return change(*laws, tokens, draws)

        for kind in RULES.values():
            monkeypatch.setattr(kind, "instead", changed)

    return apply


def largest(p, q, tokens, draws):
    """The likeliest of many tokens by p - q."""
    found = p.sample(draws, Role.RESIDUAL)
    for number in range(1, 16):
        other = p.sample(draws._replace(round=100 + number), Role.RESIDUAL)
        gain, gain_before = (
            p.log_prob(one).exp() - q.log_prob(one).exp() for one in (other, found)
        )
        found = torch.where((gain > gain_before).unsqueeze(-1), other, found)
    return found


def verified(change):
    """Other windows or targets are judged."""

    def apply(monkeypatch):
        right = ContinuousRule.verify

        def verify(self, *given):
            return change(lambda *args: right(self, *args), *given)

        monkeypatch.setattr(ContinuousRule, "verify", verify)

    return apply


def bonus(right, window, target, draws):
    """The token behind the drafts comes from the drafter's distribution."""
    parts = zip(target, window.law, strict=True)
    return right(
        window, GaussianMixture(*(torch.cat([p[:, :-1], q[:, -1:]], 1) for p, q in parts)), draws
    )


def longest(right, window, target, draws):
    """A draft is judged twice, and kept if one of the verdicts keeps it."""
    one, other = (right(window, target, draws._replace(round=number)) for number in (1, 1001))
    better = (other.accepted & ~one.accepted)[:, None]
    return one._replace(
        accepted=one.accepted | other.accepted,
        tokens=torch.where(better, other.tokens, one.tokens),
    )


RULES = {"MixtureRejection": MixtureRejection, "ReflectionCoupling": ReflectionCoupling}
OF_BOTH = {
    "target": instead(lambda p, q, tokens, draws: p.sample(draws, Role.RESIDUAL)),
    "largest": instead(largest),
    "bonus": verified(bonus),
    "longest": verified(longest),
    "inverted": ratio(lambda found: -found),
    "always": ratio(torch.zeros_like),
    "factor": ratio(lambda found: found + 0.3),
    "another factor": ratio(lambda found: found - 0.3),
    "temperature": ratio(lambda found: found / 42),
}
OF_REJECTION = {"distance": distance, "zeros": zeros}
OF_REFLECTION = {
    # refused drafts themselves are where the drafts have more than the target
    "distance": instead(
        lambda p, q, tokens, draws: torch.where(
            draws.uniform(Role.RESIDUAL) < 0.5, reflected(p, q, tokens), tokens
        )
    ),
    "not mirrored": instead(
        lambda p, q, tokens, draws: tokens - q.mean[..., 0, :] + p.mean[..., 0, :]
    ),
    "mirrored at the draft": instead(lambda p, q, tokens, draws: 2 * q.mean[..., 0, :] - tokens),
}
WRONG = {
    "MixtureRejection": OF_BOTH | OF_REJECTION,
    "ReflectionCoupling": OF_BOTH | OF_REFLECTION,
}


@pytest.mark.parametrize(
    ("rule", "mutant"), [(rule, mutant) for rule, found in WRONG.items() for mutant in found]
)
def test_the_test_fails_on_wrong_rules(monkeypatch, rule, mutant):
    WRONG[rule][mutant](monkeypatch)
    laws = LAWS if rule == "MixtureRejection" else {"near": EQUAL["near"], "far": EQUAL["far"]}
    for p, q in laws.values():
        found = emitted(RULES[rule](), p, q, FEWER)[1]
        if min(p_value(p, found[:, 0]), p_value(p, found[:, 1])) < FALSE_ALARM:
            return
    pytest.fail("nothing was seen")


DATA = (  # weights, means and standard deviations of what target and draft denoise to
    ([0.4, 0.6], [-1.0, 0.9], [0.3, 0.4]),
    ([0.5, 0.5], [-0.9, 1.0], [0.35, 0.35]),
)


def last_step(data, noise, spread=1.0, last_spread=None):
    """The distribution of a denoised token, given the noise of all steps but the last.

    Args:
        data: weights, means and standard deviations.
        noise: [calls, steps].
        spread: factor of the standard deviations of the steps.
        last_spread: of that of the last one; the same if None.

    Returns:
        The Gaussian of the last step, and the logarithms of all earlier deviations, summed.
    """
    weights, means, stds = (torch.tensor(one, dtype=torch.float64) for one in data)
    x, total, steps = noise[:, :1], 0.0, noise.shape[1]
    spreads = [spread] * (steps - 1) + [spread if last_spread is None else last_spread]
    # the chain ends where there is noise: with the last step of a schedule to time 0, whose
    # deviation is 0.006, target and draft would hardly ever agree
    times = [round(150 + 849 * step / (steps - 1)) for step in range(steps)]
    rows = torch.stack(ancestral(times), 1)
    for number, row in enumerate(rows.flip(0)):
        at = DiffusionStep(*row)
        variance = (at.signal * stds).square() + at.noise.square()
        shift = x - at.signal * means
        share = (weights.log() - shift.square() / variance / 2 - variance.log() / 2).softmax(-1)
        found = (share * (means + at.signal * stds.square() / variance * shift)).sum(-1, True)
        mean = at.from_data * found + at.from_noisy * x
        log_std = at.low / 2 + math.log(spreads[number])
        if number == steps - 1:
            shape = (len(x), 1, 1, 1)
            law = GaussianMixture(torch.zeros(shape[:3]), mean.view(shape), log_std.expand(shape))
            return law, float(total)
        x = mean + log_std.exp() * noise[:, number + 1, None]
        total += log_std


def exchanged(
    steps, calls, spread, change=lambda found, factor: found, last=True, rule="MixtureRejection"
):
    """P-value of coupled tokens against those of the target's chain, with other noise.

    The draft's chain has the noise of the target's, and a spread of its own in all steps.

    Args:
        steps: of both chains.
        calls: tokens.
        spread: of the draft's steps, as a share of the target's.
        change: of the log-ratio, given that and the logarithm of the factor that released code
            multiplies it by.
        last: whether the draft has the noise of the last step.
        rule: that couples them. Reflection takes equal spreads in the last step.
    """
    draws = Draws(torch.arange(calls), torch.tensor([[0, 1]]), 1)
    noise = draws.normal(Role.NOISE, steps)[:, 0].double()
    p, ours = last_step(DATA[0], noise)
    last_spread = 1.0 if rule == "ReflectionCoupling" else None
    q, theirs = last_step(DATA[1], noise, spread, last_spread)
    here = draws._replace(positions=draws.positions[:, :1])
    tokens = q.sample(here, Role.DRAFT) if last else q.mean[..., 0, :]
    target = GaussianMixture(*(torch.cat([one, one], 1) for one in p))
    with pytest.MonkeyPatch.context() as patch:
        ratio(lambda found: change(found, theirs - ours))(patch)
        found = RULES[rule]().verify(Window(tokens, None, law=q), target, draws).tokens
    other = Draws(torch.arange(calls) + calls, torch.tensor([[0]]))
    noise = other.normal(Role.NOISE, steps)[:, 0].double()
    plain = last_step(DATA[0], noise)[0].sample(other, Role.DRAFT)
    return ks_2samp(found[:, 0, 0].numpy(), plain[:, 0, 0].numpy()).pvalue


# what Continuous Speculative Decoding (Wang et al., 2024) and its released code do
CHAINS = {
    "factor": {"change": lambda found, factor: found + factor},
    "inverted factor": {"change": lambda found, factor: found - factor},
    "temperature": {"change": lambda found, factor: found / 42},
    "last noise": {"last": False},
}
SIZES = [
    pytest.param((10, 20_000, 1.3), id="10"),
    pytest.param((10, 200_000, 1.05), id="10-large", marks=pytest.mark.slow),
    pytest.param((100, 200_000, 1.05), id="100-large", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", SIZES)
def test_the_last_step_of_a_diffusion_is_coupled_exactly(size, rule):
    found = exchanged(*size, rule=rule)
    print(f"{rule}, {size}: p = {found:.3g}")
    assert found > FALSE_ALARM


COUPLED = [(rule, mutant) for rule in RULES for mutant in CHAINS]
# reflection hides it: with few drafts kept, nearly all are mirrored
COUPLED.remove(("ReflectionCoupling", "inverted factor"))


@pytest.mark.parametrize(("rule", "mutant"), COUPLED)
@pytest.mark.parametrize("size", SIZES)
def test_the_test_fails_on_published_couplings(size, rule, mutant):
    found = exchanged(*size, rule=rule, **CHAINS[mutant])
    print(f"{rule}, {mutant}, {size}: p = {found:.3g}")
    assert found < FALSE_ALARM


@pytest.mark.slow
def test_energy_of_16_channels():
    """Energy distance of 1,500 tokens from 1,500 of the target, among 200 permutations."""
    p, q = EQUAL["16 channels"]
    _, tokens = emitted(MixtureRejection(), p, q, 1500)
    other = Draws(torch.arange(1500) + 9999, torch.tensor([[0]]))
    both = torch.cat([tokens[:, 0], everywhere(p, 1500, 1).sample(other)[:, 0]])
    distances = torch.cdist(both, both)

    def energy(signs):
        return -float(signs @ distances @ signs)

    signs = torch.cat([torch.ones(1500), -torch.ones(1500)]).double()
    found = energy(signs)
    torch.manual_seed(0)
    rank = sum(energy(signs[torch.randperm(3000)]) >= found for _ in range(200))
    assert rank > 0
