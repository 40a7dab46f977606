"""The categorical head with several groups: a sum of them, each drawn by itself."""

import itertools
import math

import pytest
import torch

from intaglio.codecs.part import build, describe
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.inference.counter_rng import Draws
from intaglio.generators.inference.logits import Warp

VOCAB = (3, 2, 4)


@pytest.fixture
def head():
    head = CategoricalHead(6, VOCAB)
    torch.nn.init.normal_(head.linear.weight)
    return head


def every_token():
    return torch.tensor(list(itertools.product(*map(range, VOCAB))))


def test_the_first_loss_is_the_sum_of_the_logs_of_the_sizes():
    hidden, ids = torch.randn(7, 6), every_token()[:7]
    loss = CategoricalHead(6, VOCAB).loss(hidden, ids)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, torch.full((7,), math.log(24)))


def test_the_likelihood_sums_to_one_and_is_the_loss(head):
    tokens, hidden = every_token(), torch.randn(6)
    spread = hidden.expand(len(tokens), 6)
    log_prob = head.log_prob(spread, tokens)
    assert abs(log_prob.exp().sum() - 1) < 2e-6
    torch.testing.assert_close(head.loss(spread, tokens), -log_prob)
    # by hand: rows 0-2, 3-4 and 5-8 of the weights are the groups
    parts = (head.linear.weight @ hidden).split(VOCAB)
    by_hand = [sum(parts[g].log_softmax(0)[id] for g, id in enumerate(token)) for token in tokens]
    torch.testing.assert_close(log_prob, torch.stack(by_hand))


def test_the_loss_has_gradients_for_every_group(head):
    hidden = torch.randn(7, 6, requires_grad=True)
    head.loss(hidden, every_token()[:7]).sum().backward()
    assert bool((head.linear.weight.grad.abs().sum(1) > 0).all())
    assert bool((hidden.grad.abs().sum(1) > 0).all())


def test_samples_follow_the_guided_and_warped_distribution(head):
    """Chi-square of 20,000 draws, 23 degrees of freedom, below that of one test in 10,000."""
    hidden, null = torch.randn(2, 1, 6)
    draws = Draws(torch.arange(200), torch.arange(100)[None])
    spread = [one.expand(200, 100, 6) for one in (hidden, null)]
    warp = Warp(temperature=1.5)
    ids = head.sample(spread[0], draws, null=spread[1], scale=1.7, warp=warp)
    assert ids.shape == (200, 100, 3) and ids.dtype == torch.int64
    mixed = null + 1.7 * (hidden - null)  # the map is linear, so mixing before it is mixing after
    probabilities = head.log_prob(mixed.expand(24, 6) / 1.5, every_token()).detach().double().exp()
    places = ids.flatten(0, 1) @ torch.tensor([8, 4, 1])
    counts = places.bincount(minlength=24).double()
    assert float(((counts - 20_000 * probabilities) ** 2 / (20_000 * probabilities)).sum()) < 57.1


def test_items_are_drawn_alone(head, drawn_alone):
    drawn_alone(head, rtol=0, atol=0)


def test_a_recipe_builds_it_again(head):
    again = build(describe(head))
    assert again.vocab == VOCAB and again.width == 3


@pytest.mark.parametrize("vocab", [(), (4, 1)])
def test_sizes_that_make_no_token_are_refused(vocab):
    with pytest.raises(ValueError, match=r"at least 2 ids, got \("):
        CategoricalHead(6, vocab)
