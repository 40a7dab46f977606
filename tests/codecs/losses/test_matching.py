"""Feature matching on outputs small enough for a head."""

import json

import pytest
import torch

from intaglio.codecs.discriminators.base import DiscriminatorOutput
from intaglio.codecs.losses.matching import FeatureMatchingLoss
from intaglio.codecs.part import build, describe

REAL = DiscriminatorOutput(
    logits=[torch.tensor([1.0]), torch.tensor([0.0])],
    features=[
        [torch.tensor([1.0, 2.0]), torch.tensor([0.0])],
        [torch.tensor([5.0]), torch.tensor([[1.0, 1.0], [1.0, 1.0]])],
    ],
)
FAKE = DiscriminatorOutput(
    logits=[torch.tensor([-1.0]), torch.tensor([8.0])],
    features=[
        [torch.tensor([0.0, 5.0]), torch.tensor([3.0])],
        [torch.tensor([5.0]), torch.tensor([[1.0, 0.0], [1.0, 3.0]])],
    ],
)
# Means of the layers: 2 and 3; 0 and 0.75. Of the score maps: 2; 8.


@pytest.mark.parametrize(
    "loss, expected",
    [
        (FeatureMatchingLoss(), 2 + 3 + 0 + 0.75),
        (FeatureMatchingLoss(average=True), (2 + 3 + 0 + 0.75) / 2),
        (FeatureMatchingLoss(average=True, logits=True), (2 + 3 + 2 + 0 + 0.75 + 8) / 2),
        (FeatureMatchingLoss(average=True, logits=True, first_layer=1), (3 + 2 + 0.75 + 8) / 2),
        (FeatureMatchingLoss(first_layer=1), 3 + 0.75),
    ],
)
def test_by_hand(loss, expected):
    torch.testing.assert_close(loss(REAL, FAKE), torch.tensor(expected))
    again = build(json.loads(json.dumps(describe(loss))))
    assert torch.equal(again(REAL, FAKE), loss(REAL, FAKE))


def test_only_the_fake_gets_a_gradient():
    real, fake = torch.tensor([[1.0, 2.0], [2.0, 0.0]], requires_grad=True).unbind()
    real.retain_grad()
    fake.retain_grad()
    FeatureMatchingLoss()(
        DiscriminatorOutput([real], [[real]]), DiscriminatorOutput([fake], [[fake]])
    ).backward()
    assert real.grad is None
    assert fake.grad.tolist() == [0.5, -0.5]


def test_half_precision_features_give_a_float32_loss():
    halved = DiscriminatorOutput([torch.ones(1)], [[torch.linspace(0, 1, 300).bfloat16()]])
    other = DiscriminatorOutput([torch.ones(1)], [[torch.ones(300).bfloat16()]])
    loss = FeatureMatchingLoss()(halved, other)
    expected = (1 - halved.features[0][0].float()).mean()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected)


def test_nothing_left_to_match():
    with pytest.raises(ValueError, match="from layer 2 on leaves nothing .* of 2 layers"):
        FeatureMatchingLoss(first_layer=2)(REAL, FAKE)
    assert FeatureMatchingLoss(first_layer=2, logits=True)(REAL, FAKE) == 10
