"""Steps of a fixed shape, as they are recorded for CUDA: the same hidden vectors and tokens."""

import pytest
import torch

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.inference import cuda_graph
from intaglio.generators.inference.kv_cache import KVCache
from intaglio.generators.orders import raster as raster_order
from intaglio.generators.orders.base import PartialSequence, Request
from intaglio.generators.samplers.sampler import Sampler

CONDITION = torch.tensor([0, 2, -1])


@pytest.fixture
def recording(monkeypatch):
    """Record sessions on the CPU, too, where a replay computes what a graph would."""
    replayed = []
    plain = cuda_graph.Recording.replay

    def counted(self, generator, tokens, position):
        replayed.append(int(position))
        return plain(self, generator, tokens, position)

    monkeypatch.setattr(cuda_graph.Recording, "replay", counted)
    monkeypatch.setattr(raster_order, "recorded", lambda device: True)
    return replayed


def partial(count=0, dtype=torch.int64):
    tokens = torch.randint(0, 3, (3, 6, 1), generator=torch.Generator().manual_seed(0))
    return PartialSequence(tokens.to(dtype), (torch.arange(6) < count).expand(3, 6))


@pytest.mark.parametrize("rotary", [True, "line"])
@torch.no_grad()
def test_recorded_steps_tell_what_the_whole_tells(raster, recording, rotary):
    generator = raster(shape=(2, 3), prefix=2, rotary=rotary, dtype=torch.float64)
    tokens = partial().tokens
    for _ in range(2):  # the second session is given the recording of the first
        session = generator.order.session(
            generator, Request(CONDITION, partial(), torch.arange(3), guided=True)
        )
        static = generator.predictions(tokens, CONDITION).hidden.view(3, 6, -1)
        none = generator.predictions(tokens, torch.full((3,), -1)).hidden.view(3, 6, -1)
        for step in session.steps():
            hidden, null = session.hidden(step)
            assert (hidden[:, 0] - static[:, step.number]).abs().max() < 1e-9
            assert (null[:, 0] - none[:, step.number]).abs().max() < 1e-9
            session.commit(step, tokens[:, step.number : step.number + 1], 1.0)
    assert recording == [0, 1, 2, 3, 4] * 2


def test_sessions_that_take_turns_do_not_meet(raster, recording):
    generator = raster(shape=(2, 3))
    sampler = Sampler(guidance=Guidance(2.0))
    alone = [sampler.generate(generator, CONDITION, seed=seed) for seed in (1, 9)]
    runs = [sampler.events(generator, CONDITION, seed=seed) for seed in (1, 9)]
    for first, second in zip(*runs, strict=True):
        last = [first.tokens, second.tokens]
    assert all(torch.equal(*pair) for pair in zip(alone, last, strict=True))


def test_tokens_are_those_of_steps_that_are_not_recorded(raster, monkeypatch):
    generator = raster(shape=(2, 3))
    for count in (0, 4):
        plain = Sampler().generate(generator, CONDITION, seed=3, given=partial(count))
        with monkeypatch.context() as patch:
            patch.setattr(raster_order, "recorded", lambda device: True)
            found = Sampler().generate(generator, CONDITION, seed=3, given=partial(count))
        assert torch.equal(found, plain)


def test_a_recording_is_of_its_weights_and_sizes(raster):
    generator = raster(shape=(2, 3))
    first = cuda_graph.take(generator, 2, 6)
    first.cache.layer_caches[0].memory.fill_(torch.nan)
    cuda_graph.give_back(generator, first)
    again = cuda_graph.take(generator, 2, 6)
    assert again is first and not again.cache.layer_caches[0].memory.isnan().any()
    assert cuda_graph.take(generator, 2, 6) is not first  # it is in use
    for change in (lambda: (4, 6), lambda: (2, 5), lambda: generator.double() and (2, 6)):
        cuda_graph.give_back(generator, first)
        assert cuda_graph.take(generator, *change()) is not first


def test_a_cache_of_all_places_masks_those_behind(raster):
    generator = raster(shape=(2, 3), dtype=torch.float64)
    cache = KVCache(generator.backbone, 1, 6, static=True)
    assert cache.attention_mask(2).tolist() == [[True] + [False] * 5, [True] * 2 + [False] * 4]
    cache.advance(5)
    assert cache.attention_mask(1).all()
    with pytest.raises(ValueError, match="the cache holds at most 6 tokens, not 7"):
        cache.attention_mask(2)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_a_graph_draws_the_same_tokens_without_waiting_for_the_host(raster):
    generator = raster(shape=(2, 3), dtype=torch.float64)
    sampler = Sampler(guidance=Guidance(2.0, "linear"))
    expected = sampler.generate(generator, CONDITION, seed=3)
    generator.cuda()
    for _ in range(2):
        events = sampler.events(generator, CONDITION.cuda(), seed=3)
        found = [next(events).tokens for _ in range(2)]
        torch.cuda.set_sync_debug_mode("error")
        try:
            found += [event.tokens for event in events]
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert torch.equal(found[-1].cpu(), expected)
