"""LeCam regularisation by hand, and what of it is kept."""

import pytest
import torch

from intaglio.codecs.discriminators.base import DiscriminatorOutput
from intaglio.codecs.losses.lecam import LeCam


def output(*maps):
    return DiscriminatorOutput([torch.tensor(scores) for scores in maps], [[] for _ in maps])


REAL = output([[1.0, 3.0]], [[5.0]])
FAKE = output([[-2.0, -1.0]], [[6.0]])


def test_by_hand():
    """The means follow first; each side is measured against the other's."""
    lecam = LeCam(weight=0.5, decay=0.75)
    # after one step: real 0.25 * 3 = 0.75, fake 0.25 * 1 = 0.25
    above = (0.75**2 + 2.75**2 + 4.75**2) / 3
    below = (2.75**2 + 1.75**2 + 0) / 3
    assert float(lecam(REAL, FAKE)) == pytest.approx(0.5 * (above + below))
    assert (float(lecam.mean_real), float(lecam.mean_fake)) == (0.75, 0.25)
    lecam(REAL, FAKE)
    assert float(lecam.mean_real) == pytest.approx(0.75 * 0.75 + 0.25 * 3)
    assert float(lecam.mean_fake) == pytest.approx(0.75 * 0.25 + 0.25 * 1)


def test_scores_get_gradients_and_the_means_none():
    real = torch.tensor([[1.0, 3.0]], requires_grad=True)
    fake = torch.tensor([[-2.0, 9.0]], requires_grad=True)
    lecam = LeCam(weight=1.0)
    lecam(DiscriminatorOutput([real], [[]]), DiscriminatorOutput([fake], [[]])).backward()
    # of the mean of two squares: each difference itself
    torch.testing.assert_close(real.grad, real.detach() - lecam.mean_fake)
    expected = torch.stack([-2 - lecam.mean_real, torch.zeros(())]).unsqueeze(0)
    torch.testing.assert_close(fake.grad, expected)
    assert not lecam.mean_real.requires_grad


def test_the_means_are_kept_and_stand_still_in_evaluation():
    lecam = LeCam()
    for _ in range(3):
        lecam(REAL, FAKE)
    again = LeCam()
    again.load_state_dict(lecam.state_dict())
    assert torch.equal(again.mean_real, lecam.mean_real) and float(lecam.mean_real) > 0
    assert torch.equal(again(REAL, FAKE), lecam(REAL, FAKE))
    before = lecam.mean_real.clone()
    lecam.eval()(REAL, FAKE)
    assert torch.equal(lecam.mean_real, before)


def test_scores_that_are_not_finite_leave_the_means_alone():
    """Such a step is skipped; the next one needs the means."""
    lecam = LeCam()
    lecam(REAL, FAKE)
    before = {name: value.clone() for name, value in lecam.state_dict().items()}
    assert not lecam(REAL, output([[float("nan")]])).isfinite()
    assert not lecam(output([[float("inf")]]), FAKE).isfinite()
    assert all(torch.equal(value, before[name]) for name, value in lecam.state_dict().items())
    assert lecam(REAL, FAKE).isfinite()
