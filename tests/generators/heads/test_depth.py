"""The depth head: an exact distribution over all tokens in any order, and samples from it."""

import itertools
import math

import pytest
import torch

from intaglio.codecs.part import build, describe
from intaglio.generators.heads.depth import DepthHead
from intaglio.generators.inference.counter_rng import Draws
from intaglio.generators.inference.logits import Warp

VOCAB = (3, 2, 4)
ORDER = (2, 0, 1)


def stirred(**changes):
    """A small head whose zeros have been stirred, as if it were trained."""
    settings = {"hidden_channels": 8, "depth": 1, "heads": 2, "order": ORDER} | changes
    head = DepthHead(6, VOCAB, **settings)
    for name, parameter in head.named_parameters():
        if "norm" not in name:
            small = 0.1 if name.startswith("last") or "modulation" in name else 0.7
            torch.nn.init.normal_(parameter, std=0.3 if name.startswith("out") else small)
    return head


def every_token():
    return torch.tensor(list(itertools.product(*map(range, VOCAB))))


def probabilities_of(head, hidden):
    """Probability of every token, float64 [24]."""
    return head.log_prob(hidden.expand(24, 6), every_token()).detach().double().exp()


@pytest.mark.parametrize("modulated", [False, True])
def test_the_first_loss_is_the_sum_of_the_logs_of_the_sizes(modulated):
    head = DepthHead(6, VOCAB, hidden_channels=8, depth=2, heads=2, modulated=modulated)
    loss = head.loss(torch.randn(24, 6), every_token())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, torch.full((24,), math.log(24)))


@pytest.mark.parametrize("modulated", [False, True])
def test_the_likelihood_sums_to_one_and_is_the_loss(modulated):
    head, hidden = stirred(modulated=modulated, qk_norm=modulated), torch.randn(6)
    probabilities = probabilities_of(head, hidden)
    assert abs(float(probabilities.sum()) - 1) < 2e-6
    assert torch.equal(
        head.loss(hidden.expand(24, 6), every_token()).double().neg().exp(), probabilities
    )
    marginals = [probabilities.view(VOCAB).sum(dim=axes) for axes in ((1, 2), (0, 2), (0, 1))]
    independent = torch.einsum("a,b,c->abc", *marginals)
    # groups depend on one another
    assert float((probabilities.view(VOCAB) - independent).abs().sum()) > 0.05


@pytest.mark.parametrize("modulated", [False, True])
def test_a_step_sees_only_earlier_groups_of_the_order(modulated):
    head, hidden = stirred(modulated=modulated), torch.randn(1, 6)
    first = head.states(hidden, torch.tensor([[3, 1]]))
    assert first.shape == (1, 3, 8)
    other = head.states(hidden, torch.tensor([[3, 2]]))
    torch.testing.assert_close(first[:, :2], other[:, :2])
    assert not torch.allclose(first[:, 2], other[:, 2])
    torch.testing.assert_close(head.states(hidden, torch.tensor([[3]])), first[:, :2])
    changed = head.states(hidden, torch.tensor([[0, 1]]))
    torch.testing.assert_close(first[:, :1], changed[:, :1])
    assert not torch.allclose(first[:, 1], changed[:, 1])
    # group 2 comes first: its marginal is the softmax of the first step
    marginal = probabilities_of(head, hidden).view(VOCAB).sum(dim=(0, 1))
    logits = head.out[0](head.states(hidden, torch.empty(1, 0, dtype=torch.int64))[:, 0])
    torch.testing.assert_close(marginal.float(), logits.softmax(-1)[0])


def test_every_weight_learns_and_so_does_the_hidden_vector():
    head = stirred(modulated=True)
    hidden = torch.randn(24, 6, requires_grad=True)
    head.loss(hidden, every_token()).sum().backward()
    assert bool((hidden.grad.abs().sum(1) > 0).all())
    for name, parameter in head.named_parameters():
        assert float(parameter.grad.abs().sum()) > 0, name


def chi_square(counts, probabilities):
    """Of cells that are expected five times or more, and of the rest together."""
    expected = counts.sum() * probabilities
    often = expected >= 5
    pairs = [(counts[often], expected[often]), (counts[~often].sum(), expected[~often].sum())]
    return sum(float(((n - e) ** 2 / e.clamp(min=1)).sum()) for n, e in pairs)


def counts_of(head, hidden, **settings):
    """How often each of the 24 tokens is drawn, of 10,000."""
    draws = Draws(torch.arange(100), torch.arange(100)[None])
    spread = {"hidden": hidden.expand(100, 100, 6)}
    if "null" in settings:
        spread["null"] = settings.pop("null").expand(100, 100, 6)
    ids = head.sample(draws=draws, **spread, **settings)
    assert ids.shape == (100, 100, 3) and ids.dtype == torch.int64
    return (ids.flatten(0, 1) @ torch.tensor([8, 4, 1])).bincount(minlength=24).double()


LIMIT = 57.1  # chi-square of 23 degrees of freedom that one test in 10,000 exceeds


@pytest.mark.parametrize("modulated", [False, True])
def test_samples_follow_the_likelihood(modulated):
    head, hidden = stirred(modulated=modulated), torch.randn(6)
    probabilities = probabilities_of(head, hidden)
    counts = counts_of(head, hidden)
    assert chi_square(counts, probabilities) < LIMIT
    marginals = [probabilities.view(VOCAB).sum(dim=axes) for axes in ((1, 2), (0, 2), (0, 1))]
    independent = torch.einsum("a,b,c->abc", *marginals).flatten()
    assert chi_square(counts, independent) > 2 * LIMIT  # of independent groups they do not


def chained(head, hidden, null, scale, warp):
    """Distribution of guided and warped steps, by enumerating all tokens group by group."""
    probabilities = torch.zeros(24, dtype=torch.float64)
    for place, token in enumerate(every_token()[:, list(ORDER)]):
        for step in range(3):
            logits = [
                head.out[step](head.states(one[None], token[None, :step])[:, step])
                for one in (hidden, null)
            ]
            mixed = logits[1] + scale * (logits[0] - logits[1])
            probabilities[place] += warp(mixed)[0, token[step]].double()
    return probabilities.detach().exp()


def test_guidance_of_logits_and_the_warp_act_on_every_step():
    head, (hidden, null) = stirred(), torch.randn(2, 6)
    warp = Warp(temperature=1.3)
    probabilities = chained(head, hidden, null, 1.6, warp)
    assert abs(float(probabilities.sum()) - 1) < 2e-6
    counts = counts_of(head, hidden, null=null, scale=1.6, warp=warp)
    assert chi_square(counts, probabilities) < LIMIT
    assert chi_square(counts, probabilities_of(head, null + 1.6 * (hidden - null))) > LIMIT


def test_guidance_of_features_is_a_mixed_hidden_vector():
    head, (hidden, null) = stirred(guide="features"), torch.randn(2, 6)
    counts = counts_of(head, hidden, null=null, scale=1.6)
    assert chi_square(counts, probabilities_of(head, null + 1.6 * (hidden - null))) < LIMIT
    assert chi_square(counts, chained(head, hidden, null, 1.6, Warp())) > LIMIT


@pytest.mark.parametrize("guide", ["logits", "features"])
def test_items_are_drawn_alone_and_a_weight_of_none_is_the_null(guide, drawn_alone):
    head = stirred(guide=guide)
    found = drawn_alone(head, rtol=0, atol=0)
    assert torch.equal(head.sample(found.null, found.draws)[2], found.tokens[2])


def test_a_recipe_builds_it_again():
    again = build(describe(stirred(guide="features")))
    assert (again.vocab, again.order, again.guide) == (VOCAB, ORDER, "features")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"order": (0, 1)}, r"permutation of them, got \(0, 1\)"),
        ({"order": (0, 1, 1)}, r"permutation of them, got \(0, 1, 1\)"),
        ({"guide": "tokens"}, "got 'tokens'"),
    ],
    ids=["short", "twice", "guide"],
)
def test_what_makes_no_head_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        stirred(**changes)
