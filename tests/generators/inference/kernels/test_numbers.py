"""Counter-based numbers of the kernel and of torch: equal to the bit, and wrong ones are seen."""

import pytest
import torch

from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.inference.kernels import numbers


def check(module, device):
    seeds = torch.tensor([3, -1, 2**40 + 5, 0], device=device)
    for positions in (torch.arange(7)[None], torch.randint(0, 1 << 20, (4, 5))):
        positions = positions.to(device)
        for turn in (torch.tensor([0, 3, 9, 2**31]), torch.tensor([2])):
            draws = Draws(seeds, positions, turn.to(device))
            for role, blocks in ((Role.TOKEN, range(1)), (Role.RESIDUAL, range(3, 7))):
                found = module.words(*draws[:3], int(role), blocks)
                wanted = draws.words(role, 2 * len(blocks), first=2 * blocks.start)
                assert torch.equal(found, wanted)


def test_words_are_those_of_torch(device):
    check(numbers, device)
    none = torch.zeros(1, 0, dtype=torch.int64, device=device)
    seeds = torch.zeros(2, dtype=torch.int64, device=device)
    assert numbers.words(seeds, none, seeds, 0, range(1)).shape == (2, 0, 4)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("block = first + index", "block = index"),
        ("zero + role", "zero"),
        ("item * position_stride + place", "place"),
        ("item * round_stride", "item * 0"),
        ("block, position.to(tl.int32)", "position.to(tl.int32), block"),
    ],
)
def test_wrong_counters_are_seen(mutant, device, text, other):
    with pytest.raises(AssertionError):
        check(mutant("numbers", text, other), device)
