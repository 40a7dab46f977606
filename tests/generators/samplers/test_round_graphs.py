"""Rounds as they are played on CUDA: nobody waits for a number, and recordings draw the same.

Without a device, tensors without numbers stand for those of one, and a tape for a CUDA graph.
"""

import traceback
from contextlib import contextmanager
from copy import deepcopy

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.inference import kv_cache
from intaglio.generators.inference.counter_rng import Draws
from intaglio.generators.inference.kernels import choice
from intaglio.generators.inference.logits import Warp
from intaglio.generators.inference.round_graphs import RoundGraphs, bucket
from intaglio.generators.orders import raster_windows
from intaglio.generators.orders.base import PartialSequence
from intaglio.generators.samplers import batch as batches
from intaglio.generators.samplers import rounds
from intaglio.generators.samplers.acceptance.codes import nearest_codes, overlapping
from intaglio.generators.samplers.acceptance.exact import GumbelMatch, ModifiedRejection
from intaglio.generators.samplers.acceptance.grouped import CoarseGrained, Grouped
from intaglio.generators.samplers.acceptance.multi_draft import (
    KSeq,
    RecursiveRejection,
    SampleMatch,
)
from intaglio.generators.samplers.acceptance.neighbours import LatentNeighbour
from intaglio.generators.samplers.acceptance.relaxed import Annealed, TVBudget
from intaglio.generators.samplers.adaptive_window import AdaptiveWindow
from intaglio.generators.samplers.drafters import jacobi
from intaglio.generators.samplers.drafters.adjacency import AdjacencyDrafter
from intaglio.generators.samplers.drafters.jacobi import JacobiDrafter
from intaglio.generators.samplers.drafters.model import ModelDrafter
from intaglio.generators.samplers.speculative import SpeculativeSampler

SHAPE, VOCAB, WINDOW = (4, 4), 7, 4
OPTIONS = {"guidance": Guidance(2.0, "linear"), "warp": Warp(0.9, top_k=5, top_p=0.9)}
CODES = [torch.randn(VOCAB, 2, generator=torch.Generator().manual_seed(0))]
METHODS = {
    "gumbel": (lambda _: JacobiDrafter("gumbel"), GumbelMatch()),
    "rejection": (lambda _: JacobiDrafter("maximal", "uniform"), ModifiedRejection()),
    "siblings": (lambda _: JacobiDrafter("maximal", siblings=2), RecursiveRejection()),
    "table": (lambda _: AdjacencyDrafter((2, 1)), SampleMatch()),
    "chain": (lambda small: ModelDrafter(small), ModifiedRejection()),
    "tree": (lambda small: ModelDrafter(small, branching=(2,)), RecursiveRejection()),
    "independent": (lambda small: ModelDrafter(small, branching=(2,), replace=True), KSeq()),
    "beams": (lambda small: ModelDrafter(small, beams=2), RecursiveRejection()),
    "budget": (lambda _: JacobiDrafter("maximal"), TVBudget(0.1)),
    "annealed": (lambda _: JacobiDrafter("maximal"), Annealed()),
    "grouped": (lambda _: JacobiDrafter("maximal"), Grouped(CODES, size=3, distance=2.0)),
    "coarse": (lambda _: JacobiDrafter("maximal"), CoarseGrained([overlapping(CODES[0], 3)])),
    "neighbour": (
        lambda _: JacobiDrafter("maximal"),
        LatentNeighbour([nearest_codes(CODES[0], 2)], factor=1.5),
    ),
}


def sampler(method, small, window=WINDOW, **options):
    drafter, rule = METHODS[method]
    rule = deepcopy(rule)  # its tables go where they are used
    options = options or OPTIONS
    return SpeculativeSampler(drafter=drafter(small), rule=rule, window=window, **options)


class Watch(TorchDispatchMode):
    """Notes where the host would wait for the device, once it is on."""

    def __init__(self):
        super().__init__()
        self.is_on, self.found = False, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name()
        if name == "aten::_local_scalar_dense":
            self.note(name)
            return False if args[0].dtype == torch.bool else 0
        try:
            out = func(*args, **(kwargs or {}))
        except Exception as error:  # a shape that depends on numbers
            self.note(f"{name}: {type(error).__name__}")
            raise
        tensors = [one for one in tree_leaves((args, kwargs, out)) if isinstance(one, torch.Tensor)]
        copies = name in ("aten::_to_copy", "aten::copy_")
        devices = {one.device.type for one in tensors if copies or one.dim()}
        if len(devices) > 1:
            self.note(f"{name} between devices")
        return out

    def note(self, what):
        if self.is_on:
            frames = traceback.extract_stack()
            frame = [one for one in frames if "/generators/" in one.filename][-3:]
            self.found.append(f"{what}: {[(one.filename, one.lineno) for one in frame]}")


def of_device(generator):
    """The generator, its weights without numbers on a CUDA device that need not be there."""
    for module in generator.modules():
        for store in (module._parameters, module._buffers):
            for name, value in store.items():
                if value is not None:
                    new = torch.empty(value.shape, dtype=value.dtype, device="cuda")
                    is_weight = store is module._parameters
                    store[name] = torch.nn.Parameter(new, False) if is_weight else new
    return generator


def words_without_numbers(draws, role, blocks):
    count = 4 * len(blocks)
    return draws.seeds.new_zeros(len(draws.seeds), draws.positions.shape[-1], count)


@contextmanager
def device_without_numbers(monkeypatch):
    monkeypatch.setattr(choice, "works", lambda problem, device: False)
    monkeypatch.setattr(rounds, "is_recorded", lambda device: False)
    # as the kernel does it, in one operation; in torch it takes 150, which look at nothing
    monkeypatch.setattr(Draws, "_words", words_without_numbers)
    with FakeTensorMode(allow_non_fake_inputs=True), Watch() as watch, torch.no_grad():
        yield watch


def begin(generator, method, small, count=3):
    """The rounds of a batch on the device."""
    every = torch.zeros(count, dtype=torch.int64, device="cuda")
    _, request = method._request(of_device(generator), every, every, None)
    if small is not generator:
        of_device(small)
    return method._rounds(generator, request)


@pytest.mark.parametrize("method", METHODS)
def test_a_round_waits_for_nothing(raster, monkeypatch, method):
    generator, small = raster(shape=SHAPE, vocab=VOCAB), raster(shape=SHAPE, vocab=VOCAB)
    drawing = sampler(method, small)
    with device_without_numbers(monkeypatch) as watch:
        played = begin(generator, drawing, small)
        played.play()  # what the first pass reads is checked
        played.play()  # tables are made
        watch.is_on = True
        played.play()
        watch.is_on = False
        assert watch.found == []


@pytest.mark.parametrize("looks", ["item", "nonzero", "copy", "unique"])
def test_a_look_is_seen(raster, monkeypatch, looks):
    class Looking(ModifiedRejection):
        def verify(self, window, target, draws):
            x = target[0]
            match looks:
                case "item":
                    float(x.sum())
                case "nonzero":
                    x[x > 0]
                case "copy":
                    torch.tensor([1.0], device=x.device)
                case "unique":
                    window.tokens.unique()
            return super().verify(window, target, draws)

    generator = raster(shape=SHAPE, vocab=VOCAB)
    drawing = SpeculativeSampler(drafter=JacobiDrafter("maximal"), rule=Looking(), window=2)
    with device_without_numbers(monkeypatch) as watch:
        played = begin(generator, drawing, generator)
        watch.is_on = True
        try:
            played.play()
        except Exception as error:
            print(error)
        watch.is_on = False
        assert any("test_round_graphs" in one for one in watch.found)


class Tape(TorchDispatchMode):
    """What a CUDA graph is: operations on tensors at their addresses, and nothing else.

    Recording leaves no trace in the tensors; a replay calls the operations again.
    """

    def __init__(self):
        super().__init__()
        self.calls, self.before = [], []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        assert func.name() != "aten::_local_scalar_dense", "a look while recording"
        for number, one in enumerate(func._schema.arguments):
            if one.alias_info is not None and one.alias_info.is_write:
                written = args[number] if number < len(args) else kwargs[one.name]
                self.before.append((written, written.clone()))
        out = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, out))
        return out

    def restore(self):
        for one, value in reversed(self.before):
            one.copy_(value)
        self.before.clear()

    def replay(self):
        for func, args, kwargs, out in self.calls:
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


@pytest.fixture
def taped(monkeypatch):
    """Rounds on a CPU as on CUDA, with tapes in place of graphs; counts them and their replays."""
    tapes, replays = [], []

    def record(self, function, args):
        with Tape() as tape:
            outputs = function(*args)
        tape.restore()
        tapes.append(tape)
        replay = tape.replay
        tape.replay = lambda: replays.append(tape) or replay()
        return tape, outputs

    monkeypatch.setattr(RoundGraphs, "_record", record)
    monkeypatch.setattr(RoundGraphs, "_prepared", lambda self, function, args: function(*args))
    monkeypatch.setattr(rounds, "is_recorded", lambda device: True)
    for module in (batches, kv_cache, jacobi, raster_windows):
        monkeypatch.setattr(module, "is_near", lambda device: False)
    # so that caches of few tokens have several lengths
    monkeypatch.setattr(raster_windows, "bucket", lambda tokens: -(-tokens // 8) * 8)
    return tapes, replays


@pytest.mark.parametrize("method", METHODS)
def test_recorded_rounds_draw_the_same(raster, monkeypatch, request, method):
    options = {"shape": SHAPE, "vocab": VOCAB, "dtype": torch.float64}
    generator, small = raster(**options), raster(**options)
    small.head.linear.weight.data.mul_(0.7)
    condition = torch.arange(5) % 3
    wanted, found = [], []
    for one in (0, 40):
        plain = sampler(method, small)
        wanted.append((plain.generate(generator, condition, seed=one), plain.statistics))
    tapes, replays = request.getfixturevalue("taped")
    recorded = sampler(method, small)
    if method == "table":  # which goes on learning
        wanted = wanted[:1]
    for one in (0, 40)[: len(wanted)]:
        found.append((recorded.generate(generator, condition, seed=one), recorded.statistics))
    for (tokens, statistics), (same, others) in zip(wanted, found, strict=True):
        assert torch.equal(tokens, same)
        assert statistics == pytest.approx(others)
    assert len(replays) >= len(tapes) >= 2


def test_recorded_rounds_of_items_of_any_length_and_with_given_tokens(raster, request):
    generator = raster(shape=(12,), vocab=VOCAB, end_of_sequence=True, dtype=torch.float64)
    condition = torch.arange(6) % 3
    tokens = sampler("gumbel", None).generate_sequences(generator, condition, seed=1)
    given = PartialSequence(tokens.tokens[:, :3], tokens.mask[:, :3] & (torch.arange(3) < 2))
    plain = [
        sampler("gumbel", None).generate_sequences(generator, condition, seed=1, given=one)
        for one in (None, given)
    ]
    many = [*sampler("rejection", None).generate_many(generator, condition, batch_size=2)]
    request.getfixturevalue("taped")
    drawing = sampler("gumbel", None)
    for one, wanted in zip((None, given), plain, strict=True):
        found = drawing.generate_sequences(generator, condition, seed=1, given=one)
        assert torch.equal(found.tokens, wanted.tokens) and torch.equal(found.mask, wanted.mask)
    again = [*sampler("rejection", None).generate_many(generator, condition, batch_size=2)]
    assert [len(one) for one in many] == [len(one) for one in again]


def test_items_that_begin_in_free_rows_have_recorded_rounds(raster, taped):
    generator = raster(shape=SHAPE, vocab=VOCAB, prefix=2, dtype=torch.float64)
    condition = torch.arange(11) % 3
    drawing = sampler("gumbel", None)
    wanted = sampler("gumbel", None).generate(generator, condition, seed=5)
    tapes, replays = taped
    tapes.clear(), replays.clear()
    found = torch.stack([*drawing.generate_many(generator, condition, batch_size=3, seed=5)])
    assert torch.equal(found, wanted)
    assert len(replays) > 2 * len(tapes)


def test_an_adaptive_window_learns_from_replays_only(raster, taped):
    generator = raster(shape=(6, 6), vocab=VOCAB, dtype=torch.float64)
    seen = []

    class Noting(AdaptiveWindow):
        def observe(self, *args):
            seen.append(args[1])
            super().observe(*args)

    drawing = sampler("gumbel", None, window=Noting((0, 2, 5)))
    condition = torch.arange(4) % 3
    wanted = sampler("gumbel", None).generate(generator, condition, seed=2)
    taped[1].clear()
    for _ in range(3):
        assert torch.equal(drawing.generate(generator, condition, seed=2), wanted)
    assert 0 < len(seen) < len(taped[1])


def test_recordings_are_of_their_weights_and_forms(raster, taped):
    generator, tapes = raster(shape=SHAPE, vocab=VOCAB, dtype=torch.float64), taped[0]
    drawing = sampler("rejection", None)
    condition = torch.arange(3)
    first = drawing.generate(generator, condition, seed=1)
    idle = drawing._idle
    assert idle is not None and torch.equal(drawing.generate(generator, condition, seed=1), first)
    assert drawing._idle is idle
    drawing.generate(generator, condition, seed=2)  # all rounds are recorded now
    count = len(tapes)
    assert torch.equal(drawing.generate(generator, condition, seed=1), first)
    assert len(tapes) == count
    events = drawing.events(generator, condition, seed=7)
    next(events)  # the recordings are in use
    assert drawing._idle is None
    assert torch.equal(drawing.generate(generator, condition, seed=1), first)
    del events
    drawing.generate(generator, condition[:2], seed=1)
    assert drawing._idle is not idle
    idle = drawing._idle
    given = PartialSequence(first[:2], torch.arange(16).expand(2, -1) < 3)
    found = drawing.generate(generator, condition[:2], seed=1, given=given)
    assert torch.equal(found[:, :3], first[:2, :3]) and drawing._idle is not idle
    idle = drawing._idle
    for weight in generator.parameters():
        weight.data = 2 * weight.data
    drawing.generate(generator, condition[:2], seed=1)
    assert drawing._idle is not idle


def test_what_cannot_be_recorded_is_said_once_and_played(raster, taped, monkeypatch):
    def fails(*_):
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    generator = raster(shape=SHAPE, vocab=VOCAB, dtype=torch.float64)
    wanted = sampler("gumbel", None, window=0).generate(generator, torch.arange(3), seed=1)
    monkeypatch.setattr(RoundGraphs, "_record", fails)
    drawing = sampler("gumbel", None)
    with pytest.warns(UserWarning, match="CUDA graph: operation not permitted when") as record:
        assert torch.equal(drawing.generate(generator, torch.arange(3), seed=1), wanted)
    assert len(record) == 1 and drawing._idle is None


def test_the_host_looks_rarely(raster, taped, monkeypatch):
    """Items of one length cannot be complete before enough rounds were played."""
    generator = raster(shape=(8, 8), vocab=VOCAB, dtype=torch.float64)
    looks, stack = [], torch.stack
    monkeypatch.setattr(
        batches.torch, "stack", lambda x, *a, **k: looks.append(len(x)) or stack(x, *a, **k)
    )
    drawing = sampler("gumbel", None, window=0, guidance=Guidance())
    drawing.generate(generator, torch.arange(3))
    assert drawing.statistics.passes == 64
    assert looks.count(2) <= 64 / 8 + 2


def goes_on(rounds_played, count=50):
    """A mutant may never come to an end."""

    def play(self, plain=rounds.Rounds.play):
        rounds_played.append(self)
        assert len(rounds_played) < count, "the tokens do not become certain"
        return plain(self)

    return play


@pytest.mark.parametrize("mutant", ["stale state", "moved lengths", "short caches", "one length"])
def test_wrong_recordings_are_seen(raster, monkeypatch, request, mutant):
    generator = raster(shape=(6, 6), vocab=VOCAB, dtype=torch.float64)
    wanted = sampler("rejection", None).generate(generator, torch.arange(5) % 3, seed=3)
    request.getfixturevalue("taped")
    monkeypatch.setattr(rounds.Rounds, "play", goes_on([]))
    call, commit = RoundGraphs.call, batches.DraftedBatch.commit
    if mutant == "stale state":
        first = []

        def stale(self, key, function, state):
            first.append(state)
            return call(self, key, function, state if len(first) < 5 else first[3])

        monkeypatch.setattr(RoundGraphs, "call", stale)
    if mutant == "moved lengths":

        def moved(self, *args):
            old, before = self.lengths, self.lengths.clone()
            found = commit(self, *args)
            self.lengths = old.clone()
            old.copy_(before)
            return found

        monkeypatch.setattr(batches.DraftedBatch, "commit", moved)
    if mutant == "short caches":
        monkeypatch.setattr(raster_windows, "bucket", lambda tokens: tokens - 4)
    if mutant == "one length":
        monkeypatch.setattr(RoundGraphs, "call", lambda self, key, *args: call(self, key[0], *args))
    with pytest.raises((AssertionError, RuntimeError, IndexError)):
        found = sampler("rejection", None).generate(generator, torch.arange(5) % 3, seed=3)
        assert torch.equal(found, wanted)


def test_lengths_of_caches_are_few():
    assert [bucket(count) for count in (1, 64, 65, 128, 129, 300)] == [64, 64, 128, 128, 256, 512]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("method", METHODS)
def test_graphs_draw_the_same_without_waiting_for_the_host(raster, monkeypatch, method):
    options = {"shape": (8, 8), "vocab": VOCAB, "dtype": torch.float64}
    generator, small = raster(**options).cuda(), raster(**options).cuda()
    small.head.linear.weight.data.mul_(0.7)
    condition = torch.arange(5).cuda() % 3
    with monkeypatch.context() as patch:
        patch.setattr(rounds, "is_recorded", lambda device: False)
        wanted = sampler(method, small).generate(generator, condition, seed=3)
    drawing, play, number = sampler(method, small), rounds.Rounds.play, 0

    def watched(self):
        nonlocal number
        number += 1
        if number < 6 or self.number > 9:  # where a form is new, it is recorded
            return play(self)
        torch.cuda.set_sync_debug_mode("error")
        try:
            return play(self)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(rounds.Rounds, "play", watched)
    assert torch.equal(drawing.generate(generator, condition, seed=3), wanted)
    assert number > 7
