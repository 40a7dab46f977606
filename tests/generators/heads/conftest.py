"""What every head is tested for."""

from typing import NamedTuple

import pytest
import torch

from intaglio.generators.inference.counter_rng import Draws
from intaglio.generators.inference.logits import Warp


class Drawn(NamedTuple):
    """A batch, and what was drawn of it."""

    hidden: torch.Tensor
    null: torch.Tensor
    scales: torch.Tensor
    draws: Draws
    tokens: torch.Tensor


@pytest.fixture
def drawn_alone():
    """Compare a batch, each item with its scale and temperature, with its items drawn alone.

    The first item has scale 1, which is no guidance at all.
    """

    def check(head, **tolerance):
        hidden, null = torch.randn(2, 3, 4, head.dim)
        draws = Draws(torch.tensor([3, 9, 4]), torch.arange(4)[None])
        scales, temperatures = torch.tensor([1.0, 2.0, 0.0]), torch.tensor([1.0, 0.5, 1.0])
        together = head.sample(hidden, draws, null=null, scale=scales, warp=Warp(temperatures))
        for item in range(3):
            place = slice(item, item + 1)
            alone = head.sample(
                hidden[place],
                Draws(draws.seeds[place], draws.positions),
                null=null[place],
                scale=float(scales[item]),
                warp=Warp(float(temperatures[item])),
            )
            torch.testing.assert_close(alone[0], together[item], **tolerance)
        assert torch.equal(head.sample(hidden, draws)[0], together[0])
        return Drawn(hidden, null, scales, draws, together)

    return check
