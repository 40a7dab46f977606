"""Steps of a fixed shape, as they are recorded for CUDA: the same hidden vectors and tokens."""

import gc
import weakref

import pytest
import torch

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.inference.kv_cache import KVCache
from intaglio.generators.orders.base import PartialSequence, Request
from intaglio.generators.orders.recorded_step import RecordedStep, StepRecorder
from intaglio.generators.samplers import sampler as sampling
from intaglio.generators.samplers.sampler import Sampler

CONDITION = torch.tensor([0, 2, -1])


@pytest.fixture
def replayed(monkeypatch):
    """Record steps on the CPU, too, where a replay computes what a graph would; counts replays."""
    positions = []
    plain = RecordedStep.replay

    def counted(self, tokens, position):
        positions.append(int(position))
        return plain(self, tokens, position)

    monkeypatch.setattr(RecordedStep, "replay", counted)
    monkeypatch.setattr(sampling, "is_recorded", lambda device: True)
    return positions


@pytest.fixture
def recorded(monkeypatch):
    """Counts the steps that are recorded."""
    made = []
    plain = RecordedStep.__init__

    def counted(self, *args):
        made.append(args)
        plain(self, *args)

    monkeypatch.setattr(RecordedStep, "__init__", counted)
    return made


def partial(count=0, dtype=torch.int64):
    tokens = torch.randint(0, 3, (3, 6, 1), generator=torch.Generator().manual_seed(0))
    return PartialSequence(tokens.to(dtype), (torch.arange(6) < count).expand(3, 6))


@pytest.mark.parametrize("rotary", ["grid", "line"])
@torch.no_grad()
def test_recorded_steps_find_what_one_pass_over_all_tokens_finds(raster, replayed, rotary):
    generator = raster(shape=(2, 3), prefix=2, rotary=rotary, dtype=torch.float64)
    tokens, recorder = partial().tokens, StepRecorder()
    for _ in range(2):  # the second batch is lent the recording of the first
        request = Request(CONDITION, partial(), torch.arange(3), guided=True, recorder=recorder)
        state = generator.start_decoding(request)
        static = generator.predictions(tokens, CONDITION).hidden.view(3, 6, -1)
        none = generator.predictions(tokens, torch.full((3,), -1)).hidden.view(3, 6, -1)
        for step in state.steps():
            hidden, null = state.hidden(step)
            assert (hidden[:, 0] - static[:, step.number]).abs().max() < 1e-9
            assert (null[:, 0] - none[:, step.number]).abs().max() < 1e-9
            state.commit(step, tokens[:, step.number : step.number + 1], 1.0)
        state.close()
    assert replayed == [0, 1, 2, 3, 4] * 2


def test_batches_that_are_drawn_in_turns_do_not_meet(raster, replayed):
    generator = raster(shape=(2, 3))
    sampler = Sampler(guidance=Guidance(2.0))
    alone = [sampler.generate(generator, CONDITION, seed=seed) for seed in (1, 9)]
    runs = [sampler.events(generator, CONDITION, seed=seed) for seed in (1, 9)]
    for first, second in zip(*runs, strict=True):
        last = [first.tokens, second.tokens]
    assert all(torch.equal(*pair) for pair in zip(alone, last, strict=True))


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_batch_that_is_abandoned_gives_its_recording_back(raster, replayed, recorded, steps):
    generator, sampler = raster(shape=(2, 3)), Sampler()
    expected = Sampler().generate(generator, CONDITION, seed=3)
    recorded.clear()
    events = sampler.events(generator, CONDITION, seed=1)
    for _ in range(steps):
        next(events)
    del events  # half-way
    for _ in range(2):
        assert torch.equal(sampler.generate(generator, CONDITION, seed=3), expected)

    class Full(Exception):
        pass

    def stop(event):
        raise Full

    with pytest.raises(Full):
        sampler.generate(generator, CONDITION, callback=stop)
    assert torch.equal(sampler.generate(generator, CONDITION, seed=3), expected)
    assert len(recorded) == 1


def test_a_recording_lives_with_its_sampler(raster, replayed):
    generator, sampler = raster(shape=(2, 3)), Sampler()
    sampler.generate(generator, CONDITION)
    kept = weakref.ref(sampler._recorder._idle)
    assert kept() is not None
    del sampler
    gc.collect()
    assert kept() is None


def test_tokens_are_those_of_steps_that_are_not_recorded(raster, monkeypatch):
    generator = raster(shape=(2, 3))
    for count in (0, 4):
        plain = Sampler().generate(generator, CONDITION, seed=3, given=partial(count))
        with monkeypatch.context() as patch:
            patch.setattr(sampling, "is_recorded", lambda device: True)
            found = Sampler().generate(generator, CONDITION, seed=3, given=partial(count))
        assert torch.equal(found, plain)


def test_a_recording_is_of_its_weights_and_sizes(raster):
    generator, recorder = raster(shape=(2, 3)), StepRecorder()
    backbone = generator.backbone
    first = recorder.take(backbone, 2, 6)
    first.cache.layer_caches[0].memory.fill_(torch.nan)
    recorder.give_back(first)
    again = recorder.take(backbone, 2, 6)
    assert again is first and not again.cache.layer_caches[0].memory.isnan().any()
    assert recorder.take(backbone, 2, 6) is not first  # it is in use
    recorder.give_back(first)
    assert recorder.take(raster(shape=(2, 3)).backbone, 2, 6) is not first
    for change in (lambda: (4, 6), lambda: (2, 5), lambda: generator.double() and (2, 6)):
        recorder.give_back(first)
        assert recorder.take(backbone, *change()) is not first


def test_a_static_cache_masks_the_positions_behind(raster):
    generator = raster(shape=(2, 3), dtype=torch.float64)
    cache = KVCache(generator.backbone.transformer, 1, 6, static=True)
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
