"""xAR: the published numbers of parameters and the first loss; what it draws is kept."""

import pytest
import torch
from torch.nn import functional as F

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.conditioning.text import TextCondition
from intaglio.generators.image.xar import SIZES, xar
from intaglio.generators.samplers.sampler import Sampler

TINY = {"shape": (2, 4), "channels": 2, "cell": 2, "num_classes": 3}


@pytest.mark.parametrize(("size", "millions"), [("B", 172), ("L", 608), ("H", 1187)])
def test_sizes_are_as_published(size, millions):
    """Without the linear map and the position embedding between the release's two stacks."""
    with torch.device("meta"):
        generator = xar(size)
    count = sum(parameter.numel() for parameter in generator.parameters())
    assert count / 1e6 == pytest.approx(millions, rel=3e-3)
    assert generator.order.sizes == (64,) * 4
    assert generator.order.steps == (40 if size == "B" else 50)


def test_gates_are_those_of_gelu():
    network = xar("small", **TINY).backbone.transformer.blocks[0].network
    x = torch.randn(2, 192)
    expected = network.down(F.gelu(network.gate(x)) * network.up(x))
    torch.testing.assert_close(network(x), expected)
    assert network.gate.weight.shape == (512, 192)


def test_it_learns(learns):
    """The first loss is the square of a velocity, 2 on average."""
    assert learns(xar("small", **TINY)) == pytest.approx(2, abs=0.6)


@pytest.mark.parametrize("entity", ["cell", "scale", "image"])
def test_it_keeps_its_word(keeps_its_word, entity):
    sampler = Sampler(guidance=Guidance(2.0, "linear"), steps=2)
    keeps_its_word(xar("small", **TINY, entity=entity), sampler)


def test_it_is_conditioned_on_texts(keeps_its_word):
    generator = xar("small", **TINY, condition=TextCondition())
    texts = generator.condition.of_texts(["a red apple", "a green apple", "the sea", ""])
    keeps_its_word(generator, Sampler(steps=1), conditions=texts)


def test_another_size_is_refused():
    with pytest.raises(ValueError, match="B, L, H, small, not 'XL'"):
        xar("XL")
    with pytest.raises(ValueError, match=r"the size of a cell divides \(2, 4\), got 8"):
        xar("small", shape=(2, 4))
    assert len(SIZES) == 4
