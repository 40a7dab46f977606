"""The generator of ordered tokens: ids and digits, and prefixes that begin alike."""

import math

import pytest
import torch

from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.generators.image.flextok_ar import flextok_ar
from intaglio.generators.samplers.sampler import Sampler

TINY = {"positions": 5, "levels": (4, 3, 5), "num_classes": 3, "dropout": 0.0}


def test_an_id_is_its_levels():
    """The digits are those of the codec's quantizer, and an id comes back."""
    generator = flextok_ar("tiny", **TINY)
    assert generator.vocab == (60,) and generator.width == 1
    ids = torch.arange(60).view(1, 60, 1)
    digits = generator.normalise(ids)
    quantizer = FSQ(3, (4, 3, 5))
    assert torch.equal(digits, ids // quantizer.basis % quantizer.levels)
    assert torch.equal(generator.denormalise(digits), ids)
    assert len(digits[0].unique(dim=0)) == 60


def test_probabilities_of_all_ids_add_up_to_one():
    generator = flextok_ar("tiny", **TINY | {"positions": 1}).eval()
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    log_probs = generator.log_prob(
        torch.arange(60).view(60, 1, 1), torch.ones(60, dtype=torch.int64)
    )
    log_probs = log_probs.detach()
    assert float(log_probs.exp().sum()) == pytest.approx(1, abs=1e-5)
    assert float(log_probs.std()) > 0.1


def test_it_learns(learns):
    assert learns(flextok_ar("tiny", **TINY)) == pytest.approx(math.log(60))


def test_it_keeps_its_word(keeps_its_word):
    keeps_its_word(flextok_ar("tiny", **TINY))


def test_fewer_tokens_are_the_first_of_all():
    generator = flextok_ar("tiny", **TINY).eval()
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    classes = torch.tensor([0, 1])
    full = Sampler().generate(generator, classes, seed=3)
    for positions in (1, 3, 5):
        found = Sampler(positions=positions).generate(generator, classes, seed=3)
        assert torch.equal(found, full[:, :positions])
    for positions in (0, 6):
        with pytest.raises(ValueError, match="draws 1 to 5 tokens"):
            Sampler(positions=positions).generate(generator, classes)


def test_its_steps_tell_what_the_whole_tells(remembers):
    remembers(flextok_ar("tiny", **TINY))
