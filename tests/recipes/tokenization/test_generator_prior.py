"""A generator as the prior of the entropy coder: what comes back, and what it costs."""

import math

import numpy as np
import pytest
import torch

pytest.importorskip("constriction", reason="pip install 'intaglio[entropy]'")

from intaglio.data.formats.entropy import TOTAL, decode_chunk, encode_chunk
from intaglio.generators.image.llamagen import llamagen
from intaglio.generators.image.maskgit import maskgit
from intaglio.generators.samplers.sampler import Sampler
from intaglio.recipes.tokenization.generator_prior import GeneratorPrior


def raster(shape=(2, 2), vocab=(3,)):
    torch.manual_seed(0)
    generator = llamagen("tiny", shape=shape, vocab=vocab, num_classes=3)
    torch.nn.init.normal_(generator.head.linear.weight, std=0.2)
    return generator.eval()


@pytest.mark.parametrize("vocab", [(3,), (5, 2)])
def test_tokens_come_back_at_the_cost_of_their_likelihood(vocab):
    generator, label = raster((6, 8), vocab), torch.tensor([1])
    drawn = Sampler().generate(generator, label, seed=4)
    ids = drawn[0].numpy()
    content = encode_chunk(ids, GeneratorPrior(generator, label))
    found = decode_chunk(content, 48, vocab, GeneratorPrior(generator, label))
    assert np.array_equal(found, ids)
    bits = -float(generator.log_prob(drawn, label).detach().sum()) / math.log(2)
    assert bits < 0.9 * 48 * math.log2(math.prod(vocab))
    assert bits - 8 <= 8 * len(content) <= bits + 72  # whole words, and the coder's state


def test_laws_are_those_of_the_generator():
    generator, label = raster(), torch.tensor([2])
    ids = torch.tensor([0, 2, 1, 1]).view(1, 4, 1)
    prior = GeneratorPrior(generator, label)
    for position in range(4):
        past = ids[0, :position].numpy()
        found = prior.frequencies(0, past, np.zeros((1, 0), np.int64)) / TOTAL
        for token in range(3):
            tried = ids.clone()
            tried[0, position] = token
            wanted = generator.log_prob(tried, label)[0, position].detach().exp()
            assert found[token] == pytest.approx(float(wanted), abs=1e-6)
    assert found.max() - found.min() > 0.05
    again = prior.frequencies(0, ids[0, :0].numpy(), np.zeros((1, 0), np.int64))
    assert np.array_equal(
        again, GeneratorPrior(generator, label).frequencies(0, ids[0, :0].numpy(), None)
    )


def test_what_is_no_prior_is_refused():
    label = torch.tensor([0])
    with pytest.raises(ValueError, match="row by row with a categorical head"):
        GeneratorPrior(maskgit("tiny", num_classes=3), label)
    with pytest.raises(ValueError, match="eval"):
        GeneratorPrior(raster().train(), label)
    with pytest.raises(ValueError, match="draws 4 tokens, not more"):
        encode_chunk(np.zeros((5, 1), np.int64), GeneratorPrior(raster(), label))
