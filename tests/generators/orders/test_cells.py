"""Groups of tokens by flows: their places, what sees what, clean caches, and the plainest case."""

import pytest
import torch

from intaglio.codecs.layers.flow import on_path
from intaglio.codecs.layers.positions import sine_time
from intaglio.codecs.layers.solver import euler
from intaglio.codecs.layers.transformer import Transformer
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.conditioning.guidance import Guidance, guided
from intaglio.generators.embeddings.base import LinearEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.field import FieldHead
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.inference.logits import Warp
from intaglio.generators.orders.base import PartialSequence, Request
from intaglio.generators.orders.cells import CellOrder, partition
from intaglio.generators.samplers.sampler import Sampler


def built(entity="cell", size=2, shape=(4, 4), dtype=torch.float32, **options):
    torch.manual_seed(0)
    generator = Generator(
        Backbone(
            shape,
            LinearEmbedding(3, 16),
            ClassCondition(3),
            Transformer(16, 2, 2, gated=True, norm="rms", affine=False, streams=1),
            learned_positions=True,
        ),
        FieldHead(16, 3),
        CellOrder(16, shape, entity=entity, size=size, **options),
    )
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return generator.to(dtype).eval()


def test_groups_of_a_grid():
    assert partition((4, 4), "cell", 2)[:2] == [[0, 1, 4, 5], [2, 3, 6, 7]]
    assert partition((4, 4), "subsample", 2)[:2] == [[0, 2, 8, 10], [1, 3, 9, 11]]
    coarse, middle, fine = partition((4, 8), "scale", 4)
    assert (coarse, middle) == ([0, 4], [2, 6, 16, 18, 20, 22])
    assert len(fine) == 24 and fine[:5] == [1, 3, 5, 7, 8]
    assert partition((2, 3), "token", 1) == [[n] for n in range(6)]
    assert partition((2, 3), "image", 1) == [list(range(6))]
    assert partition((6,), "cell", 3) == [[0, 1, 2], [3, 4, 5]]
    assert partition((6,), "subsample", 3) == [[0, 3], [1, 4], [2, 5]]
    for entity in ("token", "cell", "subsample", "scale", "image"):
        groups = partition((4, 8), entity, 2)
        assert sorted(sum(groups, [])) == list(range(32))


def test_groups_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="entities are token, .* image, not 'row'"):
        partition((4, 4), "row", 2)
    for entity in ("cell", "subsample", "scale"):
        with pytest.raises(ValueError, match=rf"the size of a {entity} .*\(4, 6\), got 4"):
            partition((4, 6), entity, 4)
    with pytest.raises(ValueError, match="a power of 2 that divides .* got 3"):
        partition((3, 6), "scale", 3)
    with pytest.raises(ValueError, match="got 0"):
        partition((3, 6), "cell", 0)
    with pytest.raises(ValueError, match="solvers are euler, sde, not 'ode'"):
        CellOrder(8, (4, 4), size=2, solver="ode")


@pytest.mark.parametrize("entity", ["cell", "subsample", "scale"])
def test_a_group_sees_the_noisy_groups_before_it_and_itself(entity):
    generator = built(entity)
    order, condition = generator.order, torch.tensor([1])
    tokens, noise = torch.randn(2, 1, 16, 3).unbind()
    time = torch.linspace(0.2, 0.8, len(order.sizes)).unsqueeze(0)
    predictions = order.predictions_given(generator.backbone, tokens, condition, time, noise)
    assert torch.equal(predictions.positions, order.sequence)
    assert torch.equal(predictions.target, (noise - tokens)[0, order.sequence])
    group = order.group_of
    for changed in (tokens, noise):  # what is seen is a mixture of both
        for place in (0, 5, 15):
            changed[0, place] += 1
            other = order.predictions_given(generator.backbone, tokens, condition, time, noise)
            changed[0, place] -= 1
            rank = group[order.sequence.tolist().index(place)]
            assert torch.equal(
                (other.hidden - predictions.hidden).abs().amax(1) > 1e-4, group >= rank
            )
    for number in range(len(order.sizes)):
        later = time.clone()
        later[0, number] += 0.1
        other = order.predictions_given(generator.backbone, tokens, condition, later, noise)
        moved = (other.hidden - predictions.hidden).abs().amax(1) > 1e-4
        assert torch.equal(moved, group >= number)
    other = order.predictions_given(generator.backbone, tokens, torch.tensor([2]), time, noise)
    assert ((other.hidden - predictions.hidden).abs().amax(1) > 1e-4).all()


def test_a_group_is_set_by_its_own_time_only():
    """Without attention nothing flows: the time of a group moves that group alone."""
    generator = built()
    for block in generator.backbone.transformer.blocks:
        torch.nn.init.zeros_(block.attention.out.weight)
        torch.nn.init.zeros_(block.attention.out.bias)
    x, conditional = torch.randn(1, 16, 3), torch.randn(1, 16)
    time = torch.full((1, 4), 0.5)
    before = generator.order.denoise(generator.backbone, x, conditional, time)
    time[0, 2] = 0.7
    after = generator.order.denoise(generator.backbone, x, conditional, time)
    moved = (after != before).any(-1)[0]
    assert torch.equal(moved, generator.order.group_of == 2)
    time[0, 2] = 0.7004  # times are seen in thousandths
    again = generator.order.denoise(generator.backbone, x, conditional, time)
    assert torch.equal(again, after)
    time[0, 2] = 0.7008
    assert torch.equal(generator.order.denoise(generator.backbone, x, conditional, time), again)
    time[0, 2] = 0.7012
    assert not torch.equal(generator.order.denoise(generator.backbone, x, conditional, time), again)


def test_every_group_of_a_training_batch_has_a_time_of_its_own():
    """Shares of noise, found from what the embedding sees, follow the logit-normal distribution."""
    generator, seen = built(), []
    generator.backbone.embedding.register_forward_hook(
        lambda module, given, out: seen.append(given[0])
    )
    tokens = torch.full((400, 16, 3), 7.0)
    torch.manual_seed(1)
    predictions = generator.predictions(tokens, torch.zeros(400, dtype=torch.int64))
    noise = predictions.target.view(400, 16, 3) + 7
    share = ((seen[0] - 7) / (noise - 7)).mean(-1)
    groups = share.view(400, 4, 4)
    assert (groups.amax(2) - groups.amin(2)).max() < 1e-3
    logits = groups.mean(2).logit()
    assert abs(float(logits.mean())) < 0.1 and abs(float(logits.std()) - 1) < 0.1
    assert abs(float(torch.corrcoef(logits.T)[0, 1])) < 0.2
    assert abs(float(noise.std()) - 1) < 0.02


@pytest.mark.parametrize("entity", ["token", "cell", "scale"])
@pytest.mark.parametrize("solver", ["euler", "sde"])
def test_cached_steps_find_what_one_pass_finds(entity, solver):
    """Each group noisy at its time behind clean ones at time 0, in one pass without a cache."""
    generator = built(entity, shape=(2, 4), dtype=torch.float64, solver=solver, steps=3)
    order, condition = generator.order, torch.tensor([0, 2])
    tokens = torch.zeros(2, 8, 3, dtype=torch.float64)
    partial = PartialSequence(tokens, torch.zeros(2, 8, dtype=torch.bool))
    state = generator.start_decoding(Request(condition, partial, torch.arange(2), guided=True))
    conditional, none = (
        generator.condition(labels)[:, 0] for labels in (condition, torch.tensor([-1, -1]))
    )
    count = 0
    with torch.no_grad():
        for step in state.steps():
            hidden, null = state.hidden(step)
            start = state.spans[step.round][0]
            begin, end = order.ends[step.number : step.number + 2]
            x = torch.cat([partial.tokens[:, order.sequence[:begin]], state.x], dim=1)
            time = torch.zeros(2, step.number + 1, dtype=torch.float64)
            time[:, -1] = start
            for found, label in ((hidden, conditional), (null, none)):
                whole = order.denoise(generator.backbone, x, label, time)
                assert (found - whole[:, begin:end]).abs().max() < 1e-9
            state.commit(step, generator.head.velocity(hidden), 1.0)
            assert torch.equal(partial.tokens[:, order.sequence[begin:end]], state.x)
            count += 1
    assert count == 3 * len(order.sizes) and step.number == len(order.sizes) - 1


def test_one_group_is_plain_flow_matching():
    generator = built("image", dtype=torch.float64, solver="euler", steps=6)
    order, condition = generator.order, torch.tensor([0, 2])
    conditional, none = (
        generator.condition(labels)[:, 0] for labels in (condition, torch.tensor([-1, -1]))
    )

    def velocity(x, time, label=conditional):
        waves = sine_time((1000 * time).floor() / 1000, 256, max_period=1e4).double()
        x = generator.backbone.embedding(x) + generator.backbone.position_embedding
        x = generator.backbone(x, torch.arange(16), condition=label + order.time(waves))
        return generator.head.linear(x)

    data, noise = torch.randn(2, 2, 16, 3, dtype=torch.float64).unbind()
    time = torch.tensor([[0.3], [0.9]], dtype=torch.float64)
    predictions = order.predictions_given(generator.backbone, data, condition, time, noise)
    expected = velocity(on_path(data, noise, time[:, 0]), time[:, 0]) - (noise - data)
    loss = generator.head.loss(predictions.hidden, predictions.target)
    torch.testing.assert_close(loss, expected.square().mean(-1).flatten().float())

    def mixed(x, time):
        return guided(velocity(x, time), velocity(x, time, none), 1.5)

    places = torch.arange(16)[None]
    noise = Draws(torch.tensor([4, 5]), places).normal(Role.NOISE, 3).double()
    with torch.no_grad():
        expected = euler(mixed, noise, 6)
        found = Sampler(guidance=Guidance(1.5)).generate(generator, condition, seed=4)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)


def test_guidance_rises_over_the_groups_and_steps_are_of_each():
    generator, guidance = built(), Guidance(2.5, "linear")
    events = list(Sampler(guidance=guidance, steps=2).events(generator, torch.tensor([1])))
    assert [guidance.at(event.step.time) for event in events] == [1, 1, 1.5, 1.5, 2, 2, 2.5, 2.5]
    assert len(list(Sampler().events(generator, torch.tensor([1])))) == 200


def test_noise_is_that_of_the_seed_and_of_the_given_temperature():
    generator = built(solver="sde", steps=4)
    torch.nn.init.zeros_(generator.head.linear.weight)
    torch.nn.init.zeros_(generator.head.linear.bias)
    condition = torch.zeros(500, dtype=torch.int64)
    items = Sampler().generate(generator, condition, seed=1)
    warm = Sampler(warp=Warp(temperature=2.0)).generate(generator, condition, seed=1)
    torch.testing.assert_close(warm, 2 * items)
    # without a velocity each step takes a share of its span off and puts noise of its own
    variance = 1.0
    for start, end in ((1.0, 0.68), (0.68, 0.36), (0.36, 0.04)):
        variance = variance * (1 - (start - end)) ** 2 + 2 * start * (start - end)
    assert float(items.std()) == pytest.approx(variance**0.5, rel=0.02)


def test_what_is_given_stays_and_is_gone_on_from():
    generator, condition = built(steps=4), torch.tensor([0, 1])
    sampler = Sampler(guidance=Guidance(1.5))
    free = sampler.generate(generator, condition, seed=3)
    mask = torch.zeros(2, 16, dtype=torch.bool)
    mask[:, generator.order.sequence[4:8]] = True  # the second cell
    mask[1, [0, 15]] = True
    other = free + 0.5
    found, numbers = other, []
    for event in sampler.events(generator, condition, seed=3, given=PartialSequence(other, mask)):
        found = event.tokens
        numbers.append(event.step.number)
    assert numbers == [0] * 4 + [2] * 4 + [3] * 4  # the second cell is given in all items
    assert torch.equal(found[mask], other[mask])
    first, third = generator.order.sequence[:4], generator.order.sequence[8:12]
    torch.testing.assert_close(found[0, first], free[0, first])
    assert (found[0, third] - free[0, third]).abs().min() > 1e-6
    assert not torch.allclose(found[1, 1], free[1, 1])  # beside what is given
    kept = sampler.generate(
        generator, condition[:1], seed=3, given=PartialSequence(free[:1], mask[:1])
    )
    torch.testing.assert_close(kept, free[:1], atol=1e-5, rtol=1e-5)
    whole = PartialSequence(other, torch.ones(2, 16, dtype=torch.bool))
    assert torch.equal(sampler.generate(generator, condition, given=whole), other)
