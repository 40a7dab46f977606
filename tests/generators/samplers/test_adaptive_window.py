"""The adaptive window finds the fastest width by what rounds took and kept, and costs little."""

import pytest
import torch

from intaglio.generators.samplers.adaptive_window import WIDTHS, AdaptiveWindow


def simulated(fixed, each, keep, *, tokens=64, images=1, batch=2, noise=0.0):
    """Seconds per token and the widths of each round, where a draft is kept with a probability."""
    torch.manual_seed(0)
    window = AdaptiveWindow()
    seconds, widths = 0.0, []
    for _ in range(images):
        left = torch.full((batch,), tokens)
        while (left > 0).any():
            width = window.choose(batch)
            run = (torch.rand(batch, width) < keep).long().cumprod(1).sum(1)
            took = fixed + each * width + noise * float(torch.rand(()) < 0.1)
            window.observe(batch, width, run[left > 0], took)
            seconds += took
            left -= run + 1
            widths.append(width)
    return seconds / (tokens * images), widths


@pytest.mark.parametrize(
    ("each", "keep"), [(0.0, 0.9), (0.03, 0.5), (0.05, 0.7), (0.3, 0.3), (1.0, 0.5), (0.02, 0.05)]
)
@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_it_finds_the_fastest_width(each, keep, noise):
    def speed(width):
        return sum(keep**number for number in range(width + 1)) / (1 + each * width)

    best = max(map(speed, WIDTHS))
    _, widths = simulated(1.0, each, keep, images=20, noise=noise)
    usual = torch.tensor(widths[len(widths) // 4 :]).mode().values.item()
    assert speed(usual) > 0.9 * best
    assert 1 + max(0, usual) >= 1 and (speed(usual) >= 1)


@pytest.mark.parametrize(("each", "keep"), [(1.0, 0.5), (0.5, 0.3), (0.1, 0.0)])
def test_it_costs_little_where_drafts_do_not_pay(each, keep):
    slower, _ = simulated(1.0, each, keep, images=5)
    assert slower < 1.05


def test_the_choice_rests_on_past_rounds_of_the_same_batch():
    window = AdaptiveWindow((0, 4))
    assert window.choose(8) == 0 and window.choose(8) == 0  # until a round is measured
    window.observe(8, 0, torch.zeros(8, dtype=torch.int64), 1.0)
    assert window.choose(8) == 4
    window.observe(8, 4, torch.full((8,), 4), 1.1)
    assert window.choose(8) == 4 and window.choose(9) == 0
    with pytest.raises(ValueError, match="0 first"):
        AdaptiveWindow((2, 4))
    with pytest.raises(ValueError, match="0 first"):
        AdaptiveWindow((0, 4, 4))


def test_a_busy_moment_at_the_beginning_does_not_end_drafting():
    window, kept = AdaptiveWindow(), torch.ones(1, dtype=torch.int64)
    for width, seconds in ((0, 1.0), (8, 4.0), (8, 1.3), (0, 1.0)):
        assert window.choose(1) == width
        window.observe(1, width, kept, seconds)
    assert window.choose(1) > 0
    hopeless = AdaptiveWindow()
    for width, seconds in ((0, 1.0), (8, 6.0), (0, 1.0)):
        assert hopeless.choose(1) == width
        hopeless.observe(1, width, kept, seconds)
    assert hopeless.choose(1) == 0
