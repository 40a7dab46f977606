"""MAR: the published numbers of parameters, which tokens see which, and what is drawn."""

import math

import pytest
import torch

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.conditioning.text import TextCondition
from intaglio.generators.image.mar import HEADS, TRUNKS, mar
from intaglio.generators.orders.base import PartialSequence
from intaglio.generators.samplers.sampler import Sampler

TINY = {"shape": (3, 3), "channels": 2, "num_classes": 3, "dropout": 0.0}


@pytest.fixture
def slim(monkeypatch):
    """Build the small one with fewer and narrower blocks."""
    monkeypatch.setitem(TRUNKS, "small", (2, 64, 2, 8))
    monkeypatch.setitem(HEADS, "small", (2, 64))
    return lambda **options: mar("small", **TINY | options)


@pytest.mark.parametrize(("size", "millions"), [("B", 208), ("L", 479), ("H", 943)])
def test_sizes_are_as_published(size, millions):
    with torch.device("meta"):
        generator = mar(size)
    assert math.ceil(sum(p.numel() for p in generator.parameters()) / 1e6) == millions


def test_the_numbers_of_the_release():
    """Beyond the size: 64 tokens of the class, masks, steps, noise and how often."""
    with torch.device("meta"):
        generator = mar()
    order, head = generator.order, generator.head
    assert generator.condition.prefix == 64 and generator.drop_condition == 0.1
    assert (order.least, order.standard_deviation, order.together) == (0.7, 0.25, True)
    assert (order.schedule, order.reveal, order.steps) == ("cosine", "random", 64)
    assert (head.prediction, head.repeats, head.steps) == ("eps", 4, 100)
    norms = [m for m in generator.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert {norm.eps for norm in norms} == {1e-6}


def test_the_small_one_suits_a_cpu():
    with torch.device("meta"):
        generator = mar("small")
    assert sum(p.numel() for p in generator.parameters()) < 10e6


@pytest.mark.parametrize(("prediction", "first", "share"), [("flow", 2, 0.93), ("eps", 1, 0.8)])
def test_it_learns(learns, slim, prediction, first, share):
    """The first error is 2, of a velocity, or 1, of the noise, without the variational term.

    Predicted from the noisy token alone, a velocity has an error of 1.7 and the noise one of 0.5.
    """
    generator = slim(prediction=prediction)
    assert learns(generator, share=share, steps=40, rate=1e-3) == pytest.approx(first, abs=0.4)


@pytest.mark.parametrize("steps", [1, 4])
def test_it_keeps_its_word(keeps_its_word, slim, steps):
    sampler = Sampler(guidance=Guidance(2.0, "linear"), steps=steps)
    keeps_its_word(slim(), sampler)


def test_items_of_which_more_is_given_are_drawn_as_they_are_alone(slim):
    """The encoder masks what the items of a batch lack; alone there is nothing to mask."""
    generator = slim()
    torch.manual_seed(0)
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    generator.double().eval()
    sampler = Sampler(guidance=Guidance(2.0, "linear"), steps=3)
    given = torch.arange(9) < torch.tensor([[0], [3], [8], [9]])
    tokens, labels = torch.randn(4, 9, 2), torch.tensor([0, 1, 2, -1])
    together = sampler.generate(generator, labels, given=PartialSequence(tokens, given))
    assert torch.equal(together[given], tokens[given].to(together.dtype))
    for item in range(4):
        rows = slice(item, item + 1)
        partial = PartialSequence(tokens[rows], given[rows])
        alone = sampler.generate(generator, labels[rows], seed=item, given=partial)
        torch.testing.assert_close(alone, together[rows].to(alone.dtype), atol=1e-9, rtol=0)


def test_it_is_conditioned_on_texts(keeps_its_word, slim):
    generator = slim(condition=TextCondition())
    texts = generator.condition.of_texts(["a red apple", "a green apple", "the sea", ""])
    keeps_its_word(generator, Sampler(steps=2), conditions=texts)


def test_another_size_is_refused():
    with pytest.raises(ValueError, match="B, L, H, small, tiny, not 'XL'"):
        mar("XL")
    with pytest.raises(ValueError, match="eps or v, got 'x'"):
        mar("small", prediction="x")
    assert len(TRUNKS) == len(HEADS) == 5
