"""The straight path from noise to data, its steps, and the guidance on it."""

import pytest
import torch

from intaglio.codecs.layers.flow import logit_normal, on_path, projected_guidance
from intaglio.codecs.layers.solver import euler


def test_the_path_runs_from_data_to_noise():
    data, noise = torch.randn(2, 3, 3, 4, 4).unbind()
    time = torch.tensor([0.0, 0.25, 1.0])
    x = on_path(data, noise, time)
    assert torch.equal(x[0], data[0]) and torch.equal(x[2], noise[2])
    torch.testing.assert_close(x[1], 0.25 * noise[1] + 0.75 * data[1])
    slope = (on_path(data, noise, time + 0.5) - on_path(data, noise, time)) / 0.5
    torch.testing.assert_close(slope, noise - data, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 7, 25])
def test_the_exact_velocity_leads_to_the_data_in_any_number_of_steps(steps):
    data, noise = torch.randn(2, 3, 2, 4, 4, dtype=torch.float64).unbind()
    times = []

    def velocity(x, time):
        times.append(time)
        share = time.view(-1, 1, 1, 1).double()
        # all times but 0 give the noise back, so that a wrong time or a wrong step shows
        return (x - (1 - share) * data) / share - data

    torch.testing.assert_close(euler(velocity, noise, steps), data, atol=1e-5, rtol=0)
    assert all(time.shape == (3,) for time in times)
    given = [float(time[0]) for time in times]
    assert given == pytest.approx([1 - step / steps for step in range(steps)])


def test_steps_are_of_eulers_method():
    """Of a velocity that grows with the point: (1 - 1 / steps) ** steps."""
    end = euler(lambda x, time: x, torch.ones(2, 1), 4)
    torch.testing.assert_close(end, torch.full((2, 1), 0.75**4))


def test_shifted_steps_are_finer_near_the_noise():
    times = []

    def velocity(x, time):
        times.append(float(time[0]))
        return torch.ones_like(x)

    end = euler(velocity, torch.full((2, 1), 3.0), 4, shift=3.0)
    shares = [step / 4 for step in range(4)]
    assert times == pytest.approx([1 - s / (s + 3 - 3 * s) for s in shares])
    torch.testing.assert_close(end, torch.full((2, 1), 2.0))  # the whole way, whatever the steps


def test_no_step_is_refused():
    with pytest.raises(ValueError, match="at least 1 step, got 0"):
        euler(lambda x, time: x, torch.ones(1, 1), 0)


def test_times_of_training_are_logistic_of_a_normal():
    times = logit_normal(20_000, torch.device("cpu"))
    assert times.dtype == torch.float32 and 0 < times.min() and times.max() < 1
    logits = times.logit()
    assert abs(logits.mean()) < 0.03 and abs(logits.std() - 1) < 0.03


def test_guidance_amplifies_what_is_at_right_angles():
    given, free = 0.1 * torch.randn(2, 3, 2, 4, 4).unbind()[0], torch.randn(3, 2, 4, 4) * 0.1
    assert torch.equal(projected_guidance(given, free, scale=1.0), given)
    added = projected_guidance(given, free, scale=7.5) - given
    along = (added * given).sum((1, 2, 3)) / given.square().sum((1, 2, 3))
    torch.testing.assert_close(along, torch.zeros(3), atol=1e-5, rtol=0)
    # the difference is short, so nothing is cut: 6.5 times its part at right angles
    difference = given - free
    part = (difference * given).sum((1, 2, 3)) / given.square().sum((1, 2, 3))
    expected = 6.5 * (difference - part.view(-1, 1, 1, 1) * given)
    torch.testing.assert_close(added, expected, atol=1e-5, rtol=1e-4)


def test_guidance_cuts_the_norm_of_each_item():
    given = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    free = torch.tensor([[1.0, -1.0], [1.0, -10.0]])
    guided = projected_guidance(given, free, scale=3.0, clip=2.5)
    torch.testing.assert_close(guided, torch.tensor([[1.0, 2.0], [1.0, 5.0]]))


def test_guidance_of_nothing_is_finite():
    assert projected_guidance(torch.zeros(1, 4), torch.zeros(1, 4), scale=7.5).isfinite().all()
