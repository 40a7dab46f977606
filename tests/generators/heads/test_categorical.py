"""The categorical head: initial loss, likelihoods, guidance, distribution of its samples."""

import math

import pytest
import torch

from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.inference.counter_rng import Draws
from intaglio.generators.inference.logits import Warp


@pytest.fixture
def head():
    torch.manual_seed(0)
    head = CategoricalHead(6, (5,))
    torch.nn.init.normal_(head.linear.weight)
    return head


def test_the_first_loss_is_the_log_of_the_vocabulary():
    hidden, ids = torch.randn(7, 6), torch.randint(0, 64, (7, 1))
    loss = CategoricalHead(6, (64,)).loss(hidden, ids)
    assert loss.shape == (7,) and torch.allclose(loss, torch.full((7,), math.log(64)))


def test_the_loss_is_the_negative_log_probability(head):
    hidden, ids = torch.randn(7, 6), torch.randint(0, 5, (7, 1))
    assert torch.equal(head.loss(hidden, ids), -head.log_prob(hidden, ids))
    every = torch.stack([head.log_prob(hidden, torch.full((7, 1), id)) for id in range(5)])
    assert torch.allclose(every.exp().sum(0), torch.ones(7))


def test_logits_are_float32_under_autocast(head):
    hidden = torch.randn(7, 6)
    with torch.autocast("cpu", torch.bfloat16):
        found = head.logits(hidden)[0]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, head.logits(hidden)[0], atol=0.05, rtol=0.02)


def test_smoothing_and_the_z_loss_are_in_the_loss_only(head):
    hidden, ids = torch.randn(7, 6), torch.randint(0, 5, (7, 1))
    log_probs = head.logits(hidden)[0].log_softmax(-1)
    other = CategoricalHead(6, (5,), smoothing=0.1, z_loss=0.01)
    other.load_state_dict(head.state_dict())
    expected = 0.9 * -log_probs.gather(1, ids)[:, 0] - 0.1 * log_probs.mean(-1)
    expected = expected + 0.01 * head.logits(hidden)[0].logsumexp(-1) ** 2
    assert torch.allclose(other.loss(hidden, ids), expected, atol=1e-6)
    assert torch.equal(other.log_prob(hidden, ids), head.log_prob(hidden, ids))


def test_samples_follow_the_guided_and_warped_distribution(head):
    """Chi-square of 20,000 draws, 3 degrees of freedom, below that of one test in 10,000."""
    hidden, null = torch.randn(2, 1, 6)
    draws = Draws(torch.arange(200), torch.arange(100)[None])
    spread = [one.expand(200, 100, 6) for one in (hidden, null)]
    warp = Warp(temperature=1.5, top_k=4)
    ids = head.sample(spread[0], draws, null=spread[1], scale=1.7, warp=warp)
    assert ids.shape == (200, 100, 1) and ids.dtype == torch.int64
    logits = head.logits(null)[0] + 1.7 * (head.logits(hidden)[0] - head.logits(null)[0])
    probabilities = warp(logits)[0].double().exp()
    counts = ids.flatten().bincount(minlength=5).double()
    kept = probabilities > 0
    assert kept.sum() == 4 and counts[~kept].sum() == 0
    assert ((counts - 20_000 * probabilities) ** 2 / (20_000 * probabilities))[kept].sum() < 21.1
