"""Speculative sampling of vectors: their joint distribution, by the generator's own predictions.

Each channel of each token is put through its distribution function, given all before it. The
results are uniform, and independent of each other, if and only if the items are the generator's.
"""

import pytest
import torch
from scipy.stats import kstest

from intaglio.codecs.layers.transformer import Transformer
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.embeddings.base import LinearEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.base import SamplingOptions
from intaglio.generators.heads.densities import GaussianMixture
from intaglio.generators.heads.gaussian import GaussianHead
from intaglio.generators.heads.mixture import MixtureHead
from intaglio.generators.inference.logits import PLAIN, Warp
from intaglio.generators.orders.base import PartialSequence
from intaglio.generators.orders.raster import RasterOrder
from intaglio.generators.samplers import batch
from intaglio.generators.samplers.acceptance.continuous import (
    ContinuousRule,
    MixtureRejection,
    ReflectionCoupling,
)
from intaglio.generators.samplers.drafters import vectors
from intaglio.generators.samplers.drafters.jacobi import JacobiDrafter
from intaglio.generators.samplers.drafters.vectors import VectorModelDrafter
from intaglio.generators.samplers.sampler import Sampler
from intaglio.generators.samplers.speculative import SpeculativeSampler

LENGTH, CHANNELS, ITEMS = 5, 2, 8000
FALSE_ALARM = 1e-6
HEADS = {
    "gaussian": lambda: GaussianHead(16, CHANNELS),
    "shared": lambda: GaussianHead(16, CHANNELS, shared_variance=True),
    "mixture": lambda: MixtureHead(16, CHANNELS, components=3),
}


def generator_of(head, seed=0, depth=1, strength=1.0):
    """``strength``: how much tokens depend on those before them."""
    torch.manual_seed(seed)
    backbone = Backbone(
        (LENGTH,),
        LinearEmbedding(CHANNELS, 16),
        ClassCondition(3),
        Transformer(16, depth, 2, norm="rms"),
        rotary="line",
    )
    generator = Generator(backbone, HEADS[head](), RasterOrder())
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.35)
    with torch.no_grad():
        backbone.embedding.linear.weight.mul_(strength)
        generator.head.linear.weight[:CHANNELS].mul_(strength)
    return generator.double().eval().requires_grad_(False)


def uniforms(generator, tokens, condition, warp=PLAIN):
    """Of tokens [items, positions, channels], the same shape; see above."""
    hidden = generator.predictions(tokens, condition).hidden.unflatten(0, (len(tokens), -1))
    law = generator.head.distribution(hidden, SamplingOptions(None, 1.0, warp))
    weights, found = law.log_weights, []
    z = (tokens.unsqueeze(-2) - law.mean) * (-law.log_std).exp()
    for channel in range(tokens.shape[-1]):
        found.append((weights.softmax(-1) * torch.special.ndtr(z[..., channel])).sum(-1))
        weights = weights - z[..., channel].square() / 2 - law.log_std[..., channel]
    return torch.stack(found, -1)


def p_value(generator, sampler, items=ITEMS, **options):
    """The smallest of tests of each channel, and of the correlations, times their number."""
    condition = torch.arange(items) % 3
    found = uniforms(
        generator, sampler.generate(generator, condition, seed=0), condition, **options
    )
    found = found.flatten(1)
    values = [kstest(one.numpy(), "uniform").pvalue for one in found.unbind(1)]
    normal = torch.special.ndtri(found.clamp(1e-12, 1 - 1e-12))
    products = (normal.unsqueeze(1) * normal.unsqueeze(2)).sum(0) / items**0.5
    upper = torch.triu_indices(found.shape[1], found.shape[1], 1)
    values += (2 * torch.special.ndtr(-products[upper[0], upper[1]].abs())).tolist()
    return min(values) * len(values)


def drafters():
    return {
        **{name: JacobiDrafter(name) for name in ("gumbel", "maximal", "independent")},
        "model": VectorModelDrafter(generator_of("mixture", seed=3)),
    }


CASES = [
    *(("gaussian", name, MixtureRejection(), 3) for name in drafters()),
    ("mixture", "maximal", MixtureRejection(), 2),
    ("mixture", "model", MixtureRejection(), 8),
    ("shared", "maximal", ReflectionCoupling(), 3),
    ("shared", "gumbel", ReflectionCoupling(), 3),
]


@pytest.mark.parametrize(("head", "drafter", "rule", "window"), CASES)
def test_items_are_those_of_the_generator(head, drafter, rule, window):
    generator = generator_of(head)
    sampler = SpeculativeSampler(drafter=drafters()[drafter], rule=rule, window=window)
    assert p_value(generator, sampler) > FALSE_ALARM
    assert sampler.statistics.tokens_per_pass > 1.05
    assert sampler.statistics.tokens == ITEMS * LENGTH


def test_the_temperature_is_that_of_the_noise():
    generator, warp = generator_of("mixture"), Warp(0.6)
    sampler = SpeculativeSampler(
        drafter=JacobiDrafter("maximal"), rule=MixtureRejection(), window=3, warp=warp
    )
    assert p_value(generator, sampler, warp=warp) > FALSE_ALARM


@pytest.mark.parametrize("rule", [MixtureRejection(), ReflectionCoupling()])
def test_without_drafts_it_is_plain_sampling(rule):
    generator, condition = generator_of("shared"), torch.arange(12) % 3
    guidance = Guidance(2.0, "linear")
    plain = Sampler(guidance=guidance).generate(generator, condition, seed=1)
    sampler = SpeculativeSampler(rule=rule, window=0, guidance=guidance)
    torch.testing.assert_close(sampler.generate(generator, condition, seed=1), plain)


def test_guided_drafts_of_the_target_itself_are_all_kept():
    generator, guidance = generator_of("gaussian"), Guidance(1.8, "linear")
    drafter = VectorModelDrafter(generator, guidance=guidance)
    sampler = SpeculativeSampler(
        drafter=drafter, rule=MixtureRejection(), window=2, guidance=guidance
    )
    sampler.generate(generator, torch.arange(30) % 3)
    assert sampler.statistics.accepted == sampler.statistics.drafts > 0


def test_tokens_that_are_given_stay():
    generator, condition = generator_of("mixture"), torch.arange(4) % 3
    tokens = torch.randn(4, LENGTH, CHANNELS, dtype=torch.float64)
    lengths = torch.tensor([1, 3, 2, LENGTH])
    given = PartialSequence(tokens, torch.arange(LENGTH) < lengths[:, None])
    for drafter in drafters().values():
        sampler = SpeculativeSampler(drafter=drafter, rule=MixtureRejection(), window=3)
        drawn = sampler.generate(generator, condition, given=given)
        assert torch.equal(drawn[given.given], tokens[given.given])
        assert bool(drawn.isfinite().all())


def test_what_does_not_fit_is_refused(raster, masked):
    condition = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match="judges ids and generator draws vectors"):
        SpeculativeSampler().generate(generator_of("gaussian"), condition)
    with pytest.raises(ValueError, match="judges vectors and generator draws ids"):
        SpeculativeSampler(rule=MixtureRejection()).generate(raster(), condition)
    with pytest.raises(ValueError, match="does not draw vectors row by row"):
        VectorModelDrafter(masked())
    with pytest.raises(ValueError, match="vectors, which have no siblings"):
        sampler = SpeculativeSampler(drafter=JacobiDrafter(siblings=2), rule=MixtureRejection())
        sampler.generate(generator_of("gaussian"), condition)


def no_rollback(patch):
    right = batch.DraftedBatch.commit

    def commit(self, window, verdict, positions):
        kept = torch.ones_like(verdict.accepted)
        return right(self, window, verdict._replace(accepted=kept), positions)

    patch.setattr(batch.DraftedBatch, "commit", commit)


def shifted(patch):
    right = ContinuousRule.verify

    def verify(self, window, target, draws):
        return right(self, window, GaussianMixture(*(one.roll(-1, 1) for one in target)), draws)

    patch.setattr(ContinuousRule, "verify", verify)


def stale(patch):
    """A kept token has the distribution that it was first drawn from, as in released code."""
    right = vectors.PredictedVectors.propose

    def propose(self, prefix, draws):
        before = getattr(self, "law_before", None)
        window = right(self, prefix, draws)
        if before is not None:
            size = window.tokens.shape[1]
            index = self.last.kept.unsqueeze(1) + torch.arange(size)
            there = index.clamp_max(size - 1)
            same = (index < size) & self.last.verdict.accepted.gather(1, there)
            window = window._replace(law=chosen(same, before, window.law, there))
        self.law_before = window.law
        return window

    patch.setattr(vectors.PredictedVectors, "propose", propose)


def chosen(same, before, law, there):
    """The law of before at some positions, the other one elsewhere."""
    found = []
    for old, new in zip(before, law, strict=True):
        wide = [1] * (new.dim() - 2)
        old = old.take_along_dim(there.view(*there.shape, *wide), 1)
        found.append(torch.where(same.view(*same.shape, *wide), old, new))
    return GaussianMixture(*found)


def narrower(patch):
    """Drafts are recorded as drawn from a wider distribution."""
    right = vectors.PredictedVectors.propose

    def propose(self, prefix, draws):
        window = right(self, prefix, draws)
        return window._replace(law=window.law._replace(log_std=window.law.log_std + 0.3))

    patch.setattr(vectors.PredictedVectors, "propose", propose)


WRONG = {"rollback": no_rollback, "shifted": shifted, "stale": stale, "narrower": narrower}
RULES = {"MixtureRejection": MixtureRejection(), "ReflectionCoupling": ReflectionCoupling()}
PAIRS = [(rule, mutant) for rule in RULES for mutant in WRONG]
PAIRS.remove(("ReflectionCoupling", "narrower"))  # refuses unequal spreads


@pytest.mark.parametrize(("rule", "mutant"), PAIRS)
def test_the_test_fails_on_wrong_samplers(monkeypatch, rule, mutant):
    WRONG[mutant](monkeypatch)
    drafter = JacobiDrafter("maximal" if mutant == "stale" else "independent")
    sampler = SpeculativeSampler(drafter=drafter, rule=RULES[rule], window=3)
    items = 6000 if mutant == "stale" else 2000
    generator = generator_of("shared", strength=3.0)
    if mutant == "narrower":  # shows where most drafts are kept
        generator = generator_of("gaussian")
    assert p_value(generator, sampler, items) < FALSE_ALARM
