"""Adversarial losses on outputs small enough for a head."""

import json
import math

import pytest
import torch

from intaglio.codecs.discriminators.base import DiscriminatorOutput
from intaglio.codecs.losses.adversarial import (
    HingeLoss,
    LeastSquaresLoss,
    MixedLoss,
    NonSaturatingLoss,
)
from intaglio.codecs.part import build, describe

REAL = DiscriminatorOutput([torch.tensor([[2.0, 0.5]]), torch.tensor([[-1.0]])], [[], []])
FAKE = DiscriminatorOutput([torch.tensor([[-3.0, 0.0]]), torch.tensor([[3.0]])], [[], []])


def miss(score, wanted):
    """Cross-entropy of a score as a logit with what it should say."""
    chance = 1 / (1 + math.exp(-score))
    return -math.log(chance if wanted else 1 - chance)


NON_SATURATING = [
    (miss(2, True) + miss(0.5, True) + miss(-3, False) + miss(0, False)) / 2,
    miss(-1, True) + miss(3, False),
]
DECEIVING = [(miss(-3, True) + miss(0, True)) / 2, miss(3, True)]


@pytest.mark.parametrize(
    "loss, discriminator, generator",
    [
        # real: (0 + 0.5) / 2 = 0.25 and 2; fake: (0 + 1) / 2 = 0.5 and 4; to be real: 2.5 and 0
        (HingeLoss(), (0.25 + 2 + 0.5 + 4) / 2, (2.5 + 0) / 2),
        (HingeLoss(average=False), 0.25 + 2 + 0.5 + 4, 2.5),
        # unbounded: the means of the fake scores are -1.5 and 3
        (HingeLoss(bounded=False), (0.25 + 2 + 0.5 + 4) / 2, (1.5 - 3) / 2),
        # real: (1 + 0.25) / 2 and 4; fake: (9 + 0) / 2 and 9; to be real: (16 + 1) / 2 and 4
        (LeastSquaresLoss(), 0.625 + 4 + 4.5 + 9, 8.5 + 4),
        (LeastSquaresLoss(average=True), (0.625 + 4 + 4.5 + 9) / 2, (8.5 + 4) / 2),
        (NonSaturatingLoss(), sum(NON_SATURATING) / 2, sum(DECEIVING) / 2),
        (NonSaturatingLoss(average=False), sum(NON_SATURATING), sum(DECEIVING)),
        (MixedLoss(HingeLoss(), NonSaturatingLoss()), 6.75 / 2, sum(DECEIVING) / 2),
    ],
)
def test_by_hand(loss, discriminator, generator):
    torch.testing.assert_close(loss.discriminator(REAL, FAKE), torch.tensor(discriminator))
    torch.testing.assert_close(loss.generator(FAKE), torch.tensor(generator))
    again = build(json.loads(json.dumps(describe(loss))))
    assert torch.equal(again.discriminator(REAL, FAKE), loss.discriminator(REAL, FAKE))
    assert torch.equal(again.generator(FAKE), loss.generator(FAKE))


ALL = [HingeLoss(), HingeLoss(bounded=False), LeastSquaresLoss(), NonSaturatingLoss()]


@pytest.mark.parametrize("loss", ALL)
def test_gradients_push_the_right_way(loss):
    """Descending raises real scores and lowers fake ones; the generator raises fake ones."""
    real, fake = torch.zeros(2, 1, 4, requires_grad=True)
    outputs = [DiscriminatorOutput([scores + 0.5], [[]]) for scores in (real, fake)]
    for_real, for_fake = torch.autograd.grad(loss.discriminator(*outputs), (real, fake))
    (for_generator,) = torch.autograd.grad(loss.generator(outputs[1]), fake)
    assert (for_real < 0).all()
    assert (for_fake > 0).all()
    assert (for_generator < 0).all()


@pytest.mark.parametrize("loss", ALL)
def test_half_precision_scores_give_float32_losses(loss):
    scores = 1 + torch.arange(512).reshape(1, 512) / 2048
    halved = scores.bfloat16()
    outputs, exact = (
        DiscriminatorOutput([halved], [[]]),
        DiscriminatorOutput([halved.float()], [[]]),
    )
    for value, expected in (
        (loss.generator(outputs), loss.generator(exact)),
        (loss.discriminator(outputs, outputs), loss.discriminator(exact, exact)),
    ):
        assert value.dtype == torch.float32
        assert torch.equal(value, expected)
