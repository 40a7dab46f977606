"""LlamaGen: the published numbers of parameters and the first loss; what it draws is kept."""

import math

import pytest
import torch

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.conditioning.text import TextCondition
from intaglio.generators.image.llamagen import SIZES, llamagen
from intaglio.generators.samplers.sampler import Sampler

TINY = {"shape": (2, 3), "vocab": (11,), "num_classes": 3, "dropout": 0.0}


@pytest.mark.parametrize(
    ("size", "millions"),
    [("B", 110.9), ("L", 342.9), ("XL", 774.7), ("XXL", 1411.0), ("3B", 3096.7)],
)
def test_sizes_are_as_published(size, millions):
    with torch.device("meta"):
        generator = llamagen(size)
    count = sum(parameter.numel() for parameter in generator.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.1)


def test_the_first_loss_is_that_of_even_odds():
    generator = llamagen("tiny", **TINY).eval()
    tokens = torch.randint(0, 11, (4, 6, 1))
    loss = generator.loss(tokens, torch.tensor([0, 1, 2, -1]))
    torch.testing.assert_close(loss, torch.full((24,), math.log(11)))


def test_it_learns(learns):
    assert learns(llamagen("tiny", **TINY)) == pytest.approx(math.log(11))


@pytest.mark.parametrize("vocab", [(11,), (5, 7)], ids=["one", "groups"])
def test_it_keeps_its_word(keeps_its_word, vocab):
    generator = llamagen("tiny", **TINY | {"vocab": vocab})
    keeps_its_word(generator, Sampler(guidance=Guidance(2.0, "linear")))


def test_it_is_conditioned_on_texts(keeps_its_word):
    generator = llamagen("tiny", **TINY, condition=TextCondition())
    texts = generator.condition.of_texts(["a red apple", "a green apple", "the sea", ""])
    keeps_its_word(generator, conditions=texts)


def test_another_size_is_refused():
    with pytest.raises(ValueError, match="B, L, XL, XXL, 3B, small, tiny, not 'XS'"):
        llamagen("XS")
    assert len(SIZES) == 7


def test_its_steps_tell_what_the_whole_tells(remembers):
    remembers(llamagen("tiny", **TINY))
