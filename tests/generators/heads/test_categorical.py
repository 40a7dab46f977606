"""The categorical head: the first loss, likelihoods, guidance, and the law of its samples."""

import math

import pytest
import torch

from intaglio.generators.heads.categorical import CategoricalHead, guided
from intaglio.generators.samplers.draws import Draws
from intaglio.generators.samplers.warp import Warp


@pytest.fixture
def head():
    torch.manual_seed(0)
    head = CategoricalHead(6, 5)
    torch.nn.init.normal_(head.linear.weight)
    return head


def test_the_first_loss_is_the_log_of_the_vocabulary():
    hidden, ids = torch.randn(7, 6), torch.randint(0, 64, (7, 1))
    loss = CategoricalHead(6, 64).loss(hidden, ids)
    assert loss.shape == (7,) and torch.allclose(loss, torch.full((7,), math.log(64)))


def test_the_loss_is_the_negative_log_probability(head):
    hidden, ids = torch.randn(7, 6), torch.randint(0, 5, (7, 1))
    assert torch.equal(head.loss(hidden, ids), -head.log_prob(hidden, ids))
    every = torch.stack([head.log_prob(hidden, torch.full((7, 1), id)) for id in range(5)])
    assert torch.allclose(every.exp().sum(0), torch.ones(7))


def test_smoothing_and_the_z_loss_are_in_the_loss_only(head):
    hidden, ids = torch.randn(7, 6), torch.randint(0, 5, (7, 1))
    log_probs = head.logits(hidden).log_softmax(-1)
    other = CategoricalHead(6, 5, smoothing=0.1, z_loss=0.01)
    other.load_state_dict(head.state_dict())
    expected = 0.9 * -log_probs.gather(1, ids)[:, 0] - 0.1 * log_probs.mean(-1)
    expected = expected + 0.01 * head.logits(hidden).logsumexp(-1) ** 2
    assert torch.allclose(other.loss(hidden, ids), expected, atol=1e-6)
    assert torch.equal(other.log_prob(hidden, ids), head.log_prob(hidden, ids))


def test_samples_follow_the_guided_and_warped_law(head):
    """Chi-square of 20,000 draws, 3 degrees of freedom, below that of one test in 10,000."""
    hidden, null = torch.randn(2, 1, 6)
    draws = Draws(torch.arange(200), torch.arange(100)[None])
    spread = [one.expand(200, 100, 6) for one in (hidden, null)]
    warp = Warp(temperature=1.5, top_k=4)
    ids = head.sample(spread[0], draws, null=spread[1], weight=1.7, warp=warp)
    assert ids.shape == (200, 100, 1) and ids.dtype == torch.int64
    logits = head.logits(null) + 1.7 * (head.logits(hidden) - head.logits(null))
    law = warp(logits)[0].double().exp()
    counts = ids.flatten().bincount(minlength=5).double()
    kept = law > 0
    assert kept.sum() == 4 and counts[~kept].sum() == 0
    assert ((counts - 20_000 * law) ** 2 / (20_000 * law))[kept].sum() < 21.1


def test_items_are_drawn_alone_and_weights_may_differ(head):
    hidden, null = torch.randn(2, 3, 4, 6)
    draws = Draws(torch.tensor([3, 9, 4]), torch.arange(4)[None])
    weights = torch.tensor([1.0, 2.0, 0.0])
    together = head.sample(hidden, draws, null=null, weight=weights)
    for item, weight in enumerate(weights.tolist()):
        place = slice(item, item + 1)
        alone = Draws(draws.seeds[place], draws.positions)
        found = head.sample(hidden[place], alone, null=null[place], weight=weight)
        assert torch.equal(found[0], together[item])


def test_guidance_of_one_is_none_to_the_bit_and_of_zero_is_the_null():
    value, null = torch.randn(2, 3, 7)
    assert torch.equal(guided(value, null, 1.0), value)
    assert torch.equal(guided(value, None, 3.0), value)
    assert torch.equal(guided(value, null, 0.0), null)
    each = guided(value, null, torch.tensor([1.0, 0.0, 3.0]))
    assert torch.equal(each[0], value[0]) and torch.equal(each[1], null[1])
    assert torch.allclose(each[2], 3 * value[2] - 2 * null[2], atol=1e-6)
