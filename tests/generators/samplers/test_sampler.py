"""The reference loop: its distribution, its caches, its seeds, and what is given."""

from itertools import product

import pytest
import torch

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.inference.kv_cache import KVCache
from intaglio.generators.inference.logits import Warp
from intaglio.generators.orders.base import PartialSequence, Request
from intaglio.generators.samplers.sampler import Sampler

EVERY = torch.tensor(list(product(range(3), repeat=4))).unsqueeze(-1)


def given(tokens, mask):
    return PartialSequence(torch.as_tensor(tokens), torch.as_tensor(mask, dtype=torch.bool))


def test_the_distribution_of_the_samples_is_that_of_the_likelihood(raster):
    """Chi-square of 20,000 items over cells of five or more, below that of one test in 10,000."""
    generator = raster(prefix=2)
    labels = torch.ones(20_000, dtype=torch.int64)
    items = Sampler().generate(generator, labels, seed=5)
    powers = torch.tensor([27, 9, 3, 1])
    counts = (items[..., 0] * powers).sum(1).bincount(minlength=81).double()
    distribution = generator.log_prob(EVERY, labels[:81]).sum(1).double().exp()
    expected = 20_000 * distribution / distribution.sum()
    order = expected.argsort()
    cells = ((expected[order].cumsum(0) / 20).floor()).unique(return_inverse=True)[1]
    seen, hoped = (
        torch.zeros(len(cells), dtype=torch.float64).index_add(0, cells, values[order])
        for values in (counts, expected)
    )
    kept = hoped > 5
    chi = ((seen - hoped)[kept] ** 2 / hoped[kept]).sum()
    freedom = int(kept.sum()) - 1
    assert freedom > 20
    assert chi < freedom + 3.72 * (2 * freedom) ** 0.5 + 9  # above the quantile for 20 to 80


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_cached_steps_find_what_one_pass_finds(raster, scale):
    """Hidden vectors of every step in double precision, and those without the condition."""
    generator = raster(shape=(3, 3), prefix=2, dtype=torch.float64)
    condition = torch.tensor([0, 2])
    partial = given(torch.randint(0, 3, (2, 9, 1)), torch.zeros(2, 9))
    tokens = partial.tokens.clone()
    request = Request(condition, partial, torch.arange(2), guided=scale != 1)
    state = generator.start_decoding(request)
    whole = generator.predictions(tokens, condition).hidden.view(2, 9, -1)
    none = generator.predictions(tokens, torch.tensor([-1, -1])).hidden.view(2, 9, -1)
    for step in state.steps():
        hidden, null = state.hidden(step)
        assert (hidden[:, 0] - whole[:, step.number]).abs().max() < 1e-9
        if scale != 1:
            assert (null[:, 0] - none[:, step.number]).abs().max() < 1e-9
        else:
            assert null is None
        state.commit(step, tokens[:, step.number : step.number + 1], scale)


def test_an_item_is_the_same_in_any_batch(raster):
    generator = raster(shape=(2, 3), prefix=2)
    sampler = Sampler(guidance=Guidance(2.0, "linear"), warp=Warp(temperature=0.9, top_k=2))
    condition = torch.tensor([0, 1, 2, 1, -1])
    together = sampler.generate(generator, condition, seed=7)
    for item in range(5):
        alone = sampler.generate(generator, condition[item : item + 1], seed=7 + item)
        assert torch.equal(alone[0], together[item])
    order = torch.tensor([4, 2, 0])
    some = sampler.generate(generator, condition[order], seed=7 + order)
    assert torch.equal(some, together[order])
    assert not torch.equal(sampler.generate(generator, condition, seed=8), together)


def test_guidance_at_the_distribution_of_one_step(raster):
    """A scale of 0 draws as if there were no class, 1 as if there were no guidance."""
    generator = raster(shape=(4,))
    condition = torch.full((64,), 2)
    plain, conditional, unconditional = (
        Sampler(guidance=Guidance(scale)).generate(generator, labels, seed=1)
        for scale, labels in ((1.0, condition), (0.0, condition), (1.0, torch.full((64,), -1)))
    )
    assert torch.equal(conditional, unconditional) and not torch.equal(conditional, plain)
    late = Sampler(guidance=Guidance(0.0, "linear")).generate(generator, condition, seed=1)
    assert torch.equal(late[:, 0], plain[:, 0]) and not torch.equal(late, plain)


def test_what_is_given_stays_and_is_gone_on_from(raster):
    generator = raster(shape=(2, 3))
    condition = torch.tensor([0, 1, 2])
    free = Sampler().generate(generator, condition, seed=3)
    mask = torch.tensor([[1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
    partial = given((free + 1) % 3, mask)
    seen = []
    found = Sampler().generate(
        generator, condition, seed=3, given=partial, callback=lambda event: seen.append(event.step)
    )
    assert torch.equal(found[partial.given], partial.tokens[partial.given])
    assert [step.number for step in seen] == [1, 2, 3, 4, 5]  # the first is given in all items
    again = Sampler().generate(
        generator, condition[1:2], seed=4, given=given(partial.tokens[1:2], mask[1:2])
    )
    assert torch.equal(again[0], found[1])
    kept = given(free, mask)  # going on from its own beginning, it draws the same
    assert torch.equal(Sampler().generate(generator, condition, seed=3, given=kept), free)
    whole = given(free, torch.ones(3, 6))
    assert torch.equal(Sampler().generate(generator, condition, given=whole), free)


def test_what_cannot_be_drawn_is_refused(raster):
    generator = raster()
    condition = torch.tensor([0, 1])
    tokens = torch.zeros(2, 4, 1, dtype=torch.int64)
    with pytest.raises(ValueError, match="a raster order goes on from a beginning"):
        gap = given(tokens, [[1, 0, 1, 0], [1, 0, 0, 0]])
        Sampler().generate(generator, condition, given=gap)
    with pytest.raises(ValueError, match=r"tokens \[2, 4, 1\] and a mask \[2, 4\] can be given"):
        Sampler().generate(generator, condition, given=given(tokens[:1], torch.zeros(1, 4)))
    with pytest.raises(ValueError, match="a raster order takes 4 steps, not 3"):
        Sampler(steps=3).generate(generator, condition)
    with pytest.raises(ValueError, match="takes a step at least, got 0"):
        Sampler(steps=0)
    with pytest.raises(ValueError, match="2 seeds are needed"):
        Sampler().generate(generator, condition, seed=torch.tensor([1]))
    with pytest.raises(ValueError, match="call its eval"):
        Sampler().generate(generator.train(), condition)
    with pytest.raises(ValueError, match="a guidance scale is 0 or above"):
        Sampler(guidance=Guidance(-1.0))
    with pytest.raises(ValueError, match="schedules are constant, linear, cosine, half, not 'up'"):
        Sampler(guidance=Guidance(2.0, "up"))
    with pytest.raises(ValueError, match="a temperature is above 0"):
        Sampler(warp=Warp(temperature=0.0))


def test_a_cache_is_filled_in_parts_and_not_beyond_its_length(raster):
    generator = raster(shape=(4,), dtype=torch.float64)
    cache = KVCache(generator.backbone.transformer, 1, 4)
    x = torch.randn(1, 4, 16, dtype=torch.float64)

    def run(part, start):
        places = torch.arange(start, start + part.shape[1])
        mask = torch.ones(part.shape[1], cache.length + part.shape[1], dtype=torch.bool)
        hidden = generator.backbone(
            part, places, mask=mask.tril(start), layer_caches=cache.layer_caches
        )
        cache.advance(part.shape[1])
        return hidden

    whole = generator.backbone(x, torch.arange(4), causal=True)
    run(x[:, :2], 0)
    assert (run(x[:, 2:], 2) - whole[:, 2:]).abs().max() < 1e-9
    with pytest.raises(ValueError, match="the cache holds at most 4 tokens, not 5"):
        run(x[:, :1], 3)
