"""Solvers of flows: their times, their steps, and their final distribution where it is known."""

import pytest
import torch

from intaglio.codecs.layers.solver import euler, moved, times


def test_times():
    assert times("euler", 4) == [1, 0.75, 0.5, 0.25, 0]
    assert times("sde", 4) == pytest.approx([1, 0.68, 0.36, 0.04, 0])
    assert times("sde", 1) == [1, 0]
    with pytest.raises(ValueError, match="solvers are euler, sde, not 'heun'"):
        times("heun", 4)
    with pytest.raises(ValueError, match="at least 1 step, got 0"):
        times("sde", 0)


def test_steps_by_hand():
    x, velocity, noise = torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([3.0])
    assert moved(x, velocity, 0.5, 0.25).item() == 0.5
    # the noise within is 1 + 0.5 * 2; fresh noise of 2 * 0.5 * 0.25
    expected = 1 - 0.25 * (2 + 2) + 0.25**0.5 * 3
    assert moved(x, velocity, 0.5, 0.25, noise).item() == pytest.approx(expected)


def velocity(x, time, spread=0.5):
    """Expected ``noise - data`` of points at a time, for normal data of mean 1 and a spread."""
    variance = time**2 + (1 - time) ** 2 * spread**2
    return -1 + (time - (1 - time) * spread**2) / variance * (x - (1 - time))


def along(solver, x, steps):
    path = times(solver, steps)
    for start, end in zip(path, path[1:], strict=False):
        noise = torch.randn_like(x) if solver == "sde" and end else None
        x = moved(x, velocity(x, start), start, end, noise)
    return x


def test_eulers_steps_are_those_of_the_flow():
    x = torch.randn(100, dtype=torch.float64)
    expected = euler(lambda x, time: velocity(x, time[0].item()), x, 8)
    torch.testing.assert_close(along("euler", x, 8), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("solver", ["euler", "sde"])
def test_normal_data_come_out_as_they_are(solver):
    torch.manual_seed(0)
    x = along(solver, torch.randn(20_000, dtype=torch.float64), 200)
    assert float(x.mean()) == pytest.approx(1, abs=0.015)
    assert float(x.std()) == pytest.approx(0.5, abs=0.012)


def test_fresh_noise_corrects_a_wrong_beginning():
    """Points that begin with too wide a spread keep it by Euler's method, not with fresh noise."""
    torch.manual_seed(0)
    wide = 3 * torch.randn(20_000, dtype=torch.float64)
    kept, mended = (float(along(solver, wide, 100).std()) for solver in ("euler", "sde"))
    assert kept > 1.4 and mended < 0.75
