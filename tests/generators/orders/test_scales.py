"""Scale by scale: attention, distribution, cache, given tokens, and the two plainest cases."""

from itertools import product

import pytest
import torch

from intaglio.codecs.layers.transformer import Transformer
from intaglio.codecs.quantizers.multiscale import MultiScaleQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.embeddings.scales import ScaleEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.orders.base import PartialSequence, Request
from intaglio.generators.orders.scales import ScaleOrder
from intaglio.generators.samplers.sampler import Sampler


def built(scales=(1, 2, 3), codes=3, streams=1, dtype=torch.float32):
    torch.manual_seed(0)
    inner = VectorQuantizer(4, codes, update="gradient", kmeans_iterations=0, dead_below=0)
    quantizer = MultiScaleQuantizer(inner, scales)
    torch.nn.init.normal_(inner.codebook)
    generator = Generator(
        Backbone(
            (quantizer.positions[-1],),
            ScaleEmbedding(quantizer, 16),
            ClassCondition(3),
            Transformer(16, 2, 2, affine=not streams, qk_norm="length", streams=streams),
            rotary=None,
            learned_positions=True,
        ),
        CategoricalHead(16, (codes,)),
        ScaleOrder(16, scales, modulated=bool(streams)),
    )
    for parameter in generator.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    return generator.to(dtype).eval()


@pytest.mark.parametrize("streams", [0, 1], ids=["entering", "modulating"])
def test_a_token_is_predicted_from_coarser_scales_and_the_condition(streams):
    generator = built(streams=streams)
    scale = torch.tensor([0, *[1] * 4, *[2] * 9])
    tokens, condition = torch.randint(0, 3, (1, 14, 1)), torch.tensor([1])
    before = generator.log_prob(tokens, condition)
    for place in range(14):
        other = tokens.clone()
        other[0, place] = (tokens[0, place] + 1) % 3
        moved = (generator.log_prob(other, condition) != before)[0]
        expected = scale > scale[place]
        expected[place] = True
        assert torch.equal(moved, expected)
    assert (generator.log_prob(tokens, torch.tensor([2])) != before).all()
    assert len(before.unique()) == 14


def test_the_distribution_of_the_samples_is_that_of_the_likelihood():
    """Chi-square of 20,000 items of 32, below that of one test in 10,000."""
    generator = built((1, 2), codes=2)
    every = torch.tensor(list(product(range(2), repeat=5))).unsqueeze(-1)
    found = generator.log_prob(every, torch.ones(32, dtype=torch.int64)).detach()
    distribution = found.sum(1).double().exp()
    assert float(distribution.sum()) == pytest.approx(1, abs=1e-5)
    items = Sampler().generate(generator, torch.ones(20_000, dtype=torch.int64), seed=5)
    powers = torch.tensor([16, 8, 4, 2, 1])
    counts = (items[..., 0] * powers).sum(1).bincount(minlength=32)
    expected = 20_000 * distribution
    kept = expected > 5
    assert int(kept.sum()) > 15
    assert ((counts - expected) ** 2 / expected)[kept].sum() < 69  # of 31 degrees of freedom


@pytest.mark.parametrize("guided", [False, True], ids=["plain", "guided"])
def test_cached_steps_find_what_one_pass_finds(guided):
    generator = built(dtype=torch.float64)
    condition, tokens = torch.tensor([0, 2]), torch.randint(0, 3, (2, 14, 1))
    partial = PartialSequence(torch.zeros_like(tokens), torch.zeros(2, 14, dtype=torch.bool))
    state = generator.start_decoding(Request(condition, partial, torch.arange(2), guided=guided))
    whole = generator.predictions(tokens, condition).hidden.view(2, 14, -1)
    none = generator.predictions(tokens, torch.tensor([-1, -1])).hidden.view(2, 14, -1)
    places = []
    for step in state.steps():
        hidden, null = state.hidden(step)
        here = step.positions[0]
        assert (hidden - whole[:, here]).abs().max() < 1e-9
        assert null is None or (null - none[:, here]).abs().max() < 1e-9
        assert guided == (null is not None)
        state.commit(step, tokens[:, here], 1.0)
        places.append(here.tolist())
    assert places == [[0], [1, 2, 3, 4], list(range(5, 14))]
    assert torch.equal(partial.tokens, tokens)


def test_guidance_rises_over_the_scales_and_any_first_ones_can_be_drawn():
    generator, condition = built(), torch.tensor([0, 1, 2])
    guidance = Guidance(2.5, "linear")
    events = list(Sampler(guidance=guidance).events(generator, condition, seed=3))
    assert [guidance.at(event.step.time) for event in events] == [1, 1.75, 2.5]
    part = Sampler(guidance=guidance, positions=5).generate(generator, condition, seed=3)
    assert torch.equal(part, events[-1].tokens[:, :5])
    with pytest.raises(ValueError, match=r"scales end at \[1, 5, 14\] tokens, not at 4"):
        Sampler(positions=4).generate(generator, condition)


def test_what_is_given_stays_and_is_gone_on_from():
    generator, condition = built(), torch.tensor([0, 1])
    free = Sampler().generate(generator, condition, seed=3)
    mask = torch.zeros(2, 14, dtype=torch.bool)
    mask[:, 1:5] = True
    mask[1, [0, 7, 13]] = True
    other = (free + 1) % 3
    found, numbers = other, []
    for event in Sampler().events(generator, condition, seed=3, given=PartialSequence(other, mask)):
        found = event.tokens
        numbers.append(event.step.number)
    assert numbers == [0, 2]  # the second scale is given in all items
    assert torch.equal(found[mask], other[mask]) and torch.equal(found[0, 0], free[0, 0])
    assert not torch.equal(found[0, 5:], free[0, 5:])
    kept = PartialSequence(free, mask)  # with its own tokens given, it draws the same
    assert torch.equal(Sampler().generate(generator, condition, seed=3, given=kept), free)
    whole = PartialSequence(other, torch.ones(2, 14, dtype=torch.bool))
    assert torch.equal(Sampler().generate(generator, condition, given=whole), other)


def test_one_scale_is_one_step_with_full_attention():
    generator, condition = built((2,)), torch.tensor([0, 1])
    order = generator.order
    predictions = generator.predictions(torch.zeros(2, 4, 1, dtype=torch.int64), condition)
    other = generator.predictions(torch.ones(2, 4, 1, dtype=torch.int64), condition)
    assert torch.equal(predictions.hidden, other.hidden)
    vector = generator.condition.vector(condition)
    x = generator.backbone.position_embedding + vector.unsqueeze(1) + order.start + order.levels
    x = generator.backbone.norm(generator.backbone.transformer(x, condition=vector, sizes=(4,)))
    scale, shift = order.last(vector, (4,))
    torch.testing.assert_close(predictions.hidden.view(2, 4, -1), x * (1 + scale) + shift)
    assert len(list(Sampler().events(generator, condition))) == 1


def test_scales_of_one_cell_are_causal():
    generator, condition = built((1, 1, 1), streams=0), torch.tensor([0, 1])
    tokens = torch.randint(0, 3, (2, 3, 1))
    prefix = generator.condition(condition)
    x = torch.cat(
        [prefix + generator.order.start, generator.backbone.embedding(tokens[:, :2])], dim=1
    )
    x = x + generator.backbone.position_embedding + generator.order.levels
    hidden = generator.backbone(x, torch.arange(3), causal=True)
    torch.testing.assert_close(
        generator.predictions(tokens, condition).hidden, hidden.flatten(0, 1)
    )


def test_what_cannot_be_drawn_is_refused():
    generator, condition = built(), torch.tensor([0])
    with pytest.raises(ValueError, match="3 scales take as many steps, not 2"):
        Sampler(steps=2).generate(generator, condition)
    for scales in ((), (0, 2)):
        with pytest.raises(ValueError, match="an order needs scales of at least 1 row"):
            ScaleOrder(16, scales)
