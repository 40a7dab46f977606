"""MaskGIT: TiTok's published number of parameters; what it draws is kept."""

import math
import sys

import pytest
import torch

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.image.maskgit import maskgit
from intaglio.generators.orders.base import PartialSequence, Step
from intaglio.generators.samplers.sampler import Sampler

TINY = {"shape": (3, 3), "vocab": (11,), "num_classes": 3, "dropout": 0.0}


def test_the_size_is_as_published():
    with torch.device("meta"):
        generator = maskgit()
    assert sum(p.numel() for p in generator.parameters()) / 1e6 == pytest.approx(177, abs=0.5)


def test_the_order_is_the_published_one():
    order = maskgit("tiny", **TINY).order
    assert (order.least, order.standard_deviation, order.together) == (0.0, None, False)
    assert (order.schedule, order.reveal, order.steps) == ("arccos", "confidence", 8)


def test_it_learns(learns):
    assert learns(maskgit("tiny", **TINY), rate=1e-3) == pytest.approx(math.log(11))


@pytest.mark.parametrize("steps", [1, 4, 9])
def test_it_keeps_its_word(keeps_its_word, steps):
    sampler = Sampler(guidance=Guidance(2.0, "linear"), steps=steps)
    keeps_its_word(maskgit("tiny", **TINY), sampler)


def test_it_fills_a_gap():
    """The tokens around a gap condition it: other neighbours give other tokens."""
    generator = maskgit("tiny", **TINY).eval()
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[:, 4] = False
    around = torch.randint(0, 11, (2, 9, 1))
    classes = torch.zeros(2, dtype=torch.int64)
    seeds = torch.zeros(40, dtype=torch.int64) + torch.arange(40)
    drawn = []
    for item in range(2):
        partial = PartialSequence(
            around[item : item + 1].expand(40, -1, -1), mask[:1].expand(40, -1)
        )
        found = Sampler(steps=1).generate(
            generator, classes[:1].expand(40), seed=seeds, given=partial
        )
        assert torch.equal(found[mask[:1].expand(40, -1)], partial.tokens[mask[:1].expand(40, -1)])
        drawn.append(found[:, 4, 0].bincount(minlength=11))
    assert not torch.equal(*drawn)


def test_another_size_is_refused():
    with pytest.raises(ValueError, match="L, small, tiny, not 'S'"):
        maskgit("S")


@pytest.mark.parametrize("difference", ["annealed over the steps", "raw logit", "step / steps"])
def test_the_documentation_names_what_differs_in_the_sampling_of_the_release(difference):
    documentation = sys.modules[maskgit.__module__].__doc__
    assert difference in " ".join(documentation.split())


def test_the_guidance_has_its_full_scale_at_the_last_step():
    times = [Step(number, 8, torch.zeros(1, 1)).time for number in range(8)]
    assert times == [number / 7 for number in range(8)]
