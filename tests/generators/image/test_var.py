"""VAR: the published numbers of parameters and the first loss; what it draws is kept."""

import math

import pytest
import torch

from intaglio.codecs.image.var_tokenizer import var_quantizer, var_tokenizer
from intaglio.codecs.layers.attention import L2QKNorm
from intaglio.codecs.quantizers.multiscale import MultiScaleQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer
from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.conditioning.text import TextCondition
from intaglio.generators.image.var import SIZES, var
from intaglio.generators.inference.logits import Warp
from intaglio.generators.samplers.sampler import Sampler


def tiny(condition=None):
    inner = VectorQuantizer(4, 11, update="gradient", kmeans_iterations=0, dead_below=0)
    quantizer = MultiScaleQuantizer(inner, (1, 2, 3))
    return var("small", quantizer=quantizer, condition=condition, num_classes=3)


@pytest.mark.parametrize(
    ("size", "millions"), [("d16", 310), ("d20", 600), ("d24", 1033), ("d30", 2010)]
)
def test_sizes_are_as_published(size, millions):
    with torch.device("meta"):
        generator = var(size)
    count = sum(p.numel() for p in generator.parameters() if p.requires_grad)
    assert count / 1e6 == pytest.approx(millions, rel=2e-3)
    assert generator.shape == (680,) and generator.vocab == (4096,)
    assert generator.backbone.transformer.head_size == 64


def test_the_first_loss_is_that_of_even_odds():
    loss = tiny().eval().loss(torch.randint(0, 11, (4, 14, 1)), torch.tensor([0, 1, 2, -1]))
    torch.testing.assert_close(loss, torch.full((56,), math.log(11)))


def test_it_starts_near_the_identity():
    """The gates are as good as closed, other weights have the published widths."""
    block = tiny().requires_grad_(False).backbone.transformer.blocks[0]
    gates, others = block.modulation.linear.weight.split([2 * 192, 4 * 192])
    width = (1 / 192 / 3) ** 0.5
    added = width / 12**0.5  # two of what is added in each of six blocks
    for weight, std in (
        (gates, 1e-5 * width),
        (others, 0.5 * width),
        (block.attention.qkv.weight, width),
        (block.attention.out.weight, added),
        (block.network[0].weight, width),
        (block.network[2].weight, added),
    ):
        assert float(weight.std()) == pytest.approx(std, rel=0.05)


def test_it_learns(learns):
    assert learns(tiny()) == pytest.approx(math.log(11))


def test_it_keeps_its_word(keeps_its_word):
    sampler = Sampler(guidance=Guidance(2.5, "linear"), warp=Warp(top_k=9, top_p=0.96))
    keeps_its_word(tiny(), sampler)


def test_it_is_conditioned_on_texts():
    torch.manual_seed(0)
    generator = tiny(TextCondition()).eval()
    torch.nn.init.normal_(generator.head.linear.weight)
    texts = generator.condition.of_texts(["a red apple", "a green apple", "the sea", ""])
    with torch.no_grad():
        found = generator.log_prob(torch.zeros(4, 14, 1, dtype=torch.int64), texts)
    assert all(len(position.unique()) == 4 for position in found.T)
    assert Sampler().generate(generator, texts, seed=1).shape == (4, 14, 1)


def test_it_reads_the_sums_of_the_small_codec():
    codec, generator = var_tokenizer(size="small").eval(), var("small", num_classes=3).eval()
    generator.backbone.embedding.load_codec_weights(codec.quantizer)
    assert generator.shape == (codec.positions,) and generator.vocab == codec.vocab
    ids = torch.randint(0, 4096, (1, 66, 1))
    held = generator.backbone.embedding.quantizer
    assert torch.equal(held.sums_before(ids), codec.quantizer.sums_before(ids))
    assert not torch.equal(held.sums_before(ids), var_quantizer(size="small").sums_before(ids))


def test_another_size_is_refused():
    with pytest.raises(ValueError, match="d16, d20, d24, d30, small, not 'd8'"):
        var("d8")
    assert len(SIZES) == 5


def test_attention_is_of_directions():
    """Queries and keys of length 1, times a sharpness that begins at 4."""
    attention = tiny().backbone.transformer.blocks[0].attention
    assert isinstance(attention.q_norm, L2QKNorm) and attention.k_norm.log_scale is None
    torch.testing.assert_close(attention.q_norm.log_scale.exp(), torch.full((4,), 4.0))


def test_its_steps_tell_what_the_whole_tells(remembers):
    remembers(tiny())
