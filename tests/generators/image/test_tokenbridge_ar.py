"""TokenBridge's generator: published sizes, the codec's values, and the distribution of its ids."""

import math
from itertools import product

import pytest
import torch

from intaglio.codecs.quantizers.post_training import PostTrainingQuantizer
from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.image.mar import TRUNKS
from intaglio.generators.image.tokenbridge_ar import tokenbridge_ar
from intaglio.generators.samplers.sampler import Sampler

TINY = {"shape": (2, 3), "vocab": (4,) * 3, "num_classes": 3, "dropout": 0.0}


@pytest.fixture
def slim(monkeypatch):
    """Build the small one with fewer and narrower blocks."""
    monkeypatch.setitem(TRUNKS, "small", (2, 128, 4, 8))
    return lambda **options: tokenbridge_ar("small", **TINY | options)


@pytest.mark.parametrize(("size", "millions"), [("L", 486), ("H", 910)])
def test_sizes_are_as_published(size, millions):
    with torch.device("meta"):
        generator = tokenbridge_ar(size)
    assert sum(p.numel() for p in generator.parameters()) / 1e6 == pytest.approx(millions, abs=0.9)
    assert generator.vocab == (64,) * 16 and generator.order.steps == 256


def test_the_order_is_the_published_one():
    with torch.device("meta"):
        head = tokenbridge_ar("small").head
    assert head.order == (8, 1, 10, 9, 6, 12, 4, 0, 3, 11, 7, 14, 2, 15, 13, 5)
    assert head.guide == "features" and head.trunk.streams == 1


def test_ids_come_in_as_the_values_of_the_codecs_quantizer():
    """Of standardised latents: the same centroids, without the codec's normalisation."""
    generator = tokenbridge_ar("small", **TINY)
    quantizer = PostTrainingQuantizer(3, bits=2)
    quantizer.quantizer.fit(torch.tensor([1.0, -2.0, 0.5]), torch.tensor([2.0, 0.5, 3.0]))
    ids = torch.randint(0, 4, (2, 6, 3))
    values = (quantizer.decode_ids(ids) - torch.tensor([1.0, -2.0, 0.5])) / torch.tensor(
        [2.0, 0.5, 3.0]
    )
    linear = generator.backbone.embedding.linear
    torch.testing.assert_close(generator.backbone.embedding(ids), linear(values))
    assert not any(p.requires_grad for p in generator.backbone.embedding.quantizer.parameters())


def test_the_first_loss_is_that_of_even_odds():
    generator = tokenbridge_ar("small", **TINY).eval()
    loss = generator.loss(torch.randint(0, 4, (4, 6, 3)), torch.tensor([0, 1, 2, -1]))
    torch.testing.assert_close(loss, torch.full((len(loss),), 3 * math.log(4)))


def test_probabilities_of_all_tokens_add_up_to_one():
    generator = tokenbridge_ar("small", **TINY | {"shape": (1, 1)}).eval()
    torch.manual_seed(0)
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    every = torch.tensor(list(product(range(4), repeat=3))).unsqueeze(1)
    log_probs = generator.log_prob(every, torch.ones(64, dtype=torch.int64)).detach()
    assert float(log_probs.exp().sum()) == pytest.approx(1, abs=1e-5)
    assert float(log_probs.std()) > 0.1


def test_it_learns(learns, slim):
    first = learns(slim(), steps=40, rate=1e-3)
    assert first == pytest.approx(3 * math.log(4))


@pytest.mark.parametrize("steps", [1, 6])
def test_it_keeps_its_word(keeps_its_word, slim, steps):
    """With so many tokens that no two items are equal by chance."""
    sampler = Sampler(guidance=Guidance(2.0, "linear"), steps=steps)
    keeps_its_word(slim(shape=(3, 3), vocab=(16,) * 3), sampler)


def test_what_does_not_suit_it_is_refused():
    with pytest.raises(ValueError, match="L, H, small, not 'B'"):
        tokenbridge_ar("B")
    for vocab in ((64, 32), (12, 12)):
        with pytest.raises(ValueError, match=r"the same power of 2 of ids, got \(\d+, \d+\)"):
            tokenbridge_ar("small", vocab=vocab)
