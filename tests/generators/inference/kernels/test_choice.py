"""Which of kernels and torch runs, that whole items are the same, and that kernels compile."""

import os
import subprocess
import sys
import warnings

import pytest
import torch

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.heads import independent
from intaglio.generators.inference import counter_rng, kernels
from intaglio.generators.inference.kernels import choice, drawing, numbers, races, rejection
from intaglio.generators.inference.logits import Warp
from intaglio.generators.samplers.acceptance import exact
from intaglio.generators.samplers.drafters.jacobi import JacobiDrafter
from intaglio.generators.samplers.sampler import Sampler
from intaglio.generators.samplers.speculative import SpeculativeSampler

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def works(monkeypatch):
    """A CUDA device on which Triton does as it is told; gives what it was asked."""
    asked = []

    def told(problem):
        choice.works.cache_clear()
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        for module, name in ((choice, "_philox"), (drawing, "problem")):
            monkeypatch.setattr(module, name, lambda _: asked.append(1) or problem())
        return asked

    yield told
    choice.works.cache_clear()


def test_kernels_run_on_cuda_if_they_find_what_they_should(works):
    asked = works(lambda: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert drawing.is_fused(CUDA, 16384) and drawing.is_fused(CUDA, 2, drawing.MAX_VOCAB)
        assert not drawing.is_fused(CPU, 16384)
        assert not drawing.is_fused(CUDA, drawing.MAX_VOCAB + 1)
    assert len(asked) == 2  # for numbers, and for what is drawn


def fails():
    raise RuntimeError("Failed to find C compiler.\nPlease specify via CC")


@pytest.mark.parametrize(
    ("problem", "said"),
    [(fails, "Failed to find C compiler. Please"), (lambda: "Philox gave 1", "Philox gave 1")],
)
def test_that_they_do_not_is_said_once(works, problem, said):
    works(problem)
    with pytest.warns(UserWarning, match=f"Triton kernels do not work on cuda: .*{said}") as record:
        assert not drawing.is_fused(CUDA, 16384) and not drawing.is_fused(CUDA, 16384)
    assert len(record) == 1


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_these_kernels_have_no_problem(device):
    assert drawing.problem(device) is None


@pytest.mark.parametrize(
    ("name", "text", "other", "said"),
    [
        ("races", "tl.load(keys + row)", "tl.load(keys)", "races have other winners"),
        ("races", "    if GUIDED:", "    if False:", "races have other winners"),
        ("races", "    if WARMED:", "    if False:", "races have other winners"),
        ("rejection", "keep < drafted, tl.math", "keep > drafted, tl.math", "a window was judged"),
        (
            "rejection",
            "tl.exp(target) - tl.exp(drafted)",
            "tl.exp(drafted) - tl.exp(target)",
            "a window was judged",
        ),
        ("bands", "tl.sqrt(apart) <= distance", "apart <= distance", "a group has"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_a_kernel_that_finds_something_else_is_a_problem(
    mutant, monkeypatch, device, name, text, other, said
):
    wrong = mutant(name, text, other)
    monkeypatch.setattr(wrong, "TILE", 1 << 14)  # fewer programs to interpret
    monkeypatch.setattr(kernels, name, wrong)
    assert said in str(drawing.problem(device))


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("rule", [exact.GumbelMatch(), exact.ModifiedRejection()])
def test_items_are_those_of_torch(raster, monkeypatch, device, rule):
    generator = raster(shape=(2, 3), vocab=7).to(device)
    condition = torch.arange(24, device=device) % 3
    options = {"guidance": Guidance(2.0, "linear"), "warp": Warp(0.9, top_k=5, top_p=0.9)}
    coupling = "gumbel" if rule.pathwise else "maximal"

    def drawn():
        samplers = (
            Sampler(**options),
            SpeculativeSampler(drafter=JacobiDrafter(coupling), rule=rule, window=3, **options),
        )
        return [one.generate(generator, condition, seed=3) for one in samplers]

    found, called = [], set()

    def noted(module, name):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, **k: called.add(name) or real(*a, **k))

    for pair in (
        (numbers, "words"),
        (races, "draw"),
        (races, "distribution"),
        (rejection, "verify"),
    ):
        noted(*pair)
    for fused in (False, True):
        for module in (independent, counter_rng, exact):
            name = "has_numbers" if module is counter_rng else "is_fused"
            monkeypatch.setattr(module, name, lambda *_, fused=fused: fused)
        assert not called
        found.append(drawn())
    same = [(one == other).all(1).float().mean() for one, other in zip(*found, strict=True)]
    assert min(same) > 0.95  # rounding may change an id, and with it all later ones
    assert called == {"words", "draw", "distribution"} | (set() if rule.pathwise else {"verify"})


COMPILE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from intaglio.generators.inference.kernels import bands, numbers, races, rejection

size, capability = int(sys.argv[1]), int(sys.argv[2])
pointers = {
    **dict.fromkeys("seeds positions rounds out keys ids drafts tokens".split(), "*i64"),
    **dict.fromkeys("logits null".split(), "*bf16"),
    **dict.fromkeys("scales temperatures log_probs p q codes of_p of_q".split(), "*fp32"),
    **dict.fromkeys("accepted own".split(), "*i1"),
    "numbers": "*fp64", **dict.fromkeys("top_p tiny band difference distance".split(), "fp32"),
}
flags = dict.fromkeys("GUIDED WARMED TOP_K TOP_P RACE KEEP DRAWN EVERYWHERE NEAR".split(), True)
for kernel, sizes in (
    (numbers._words_kernel, {"SIZE": 128}),
    (races._race_kernel, {"SIZE": size, "ROWS": max(1, 1024 // size)}),
    (rejection._accept_kernel, {"SIZE": 128}),
    (rejection._replace_kernel, {"SIZE": size, "ROWS": max(1, 1024 // size), "SLOTS": 16}),
    (bands._band_kernel, {"SIZE": size, "DIM": 8, "ROWS": max(1, 1024 // size)}),
):
    every = {**flags, **sizes}
    constants = {name: every[name] for name in kernel.arg_names if name in every}
    types = {n: "constexpr" if n in constants else pointers.get(n, "i32") for n in kernel.arg_names}
    options = {"num_warps": min(16, max(4, size // 2048)), "enable_fp_fusion": False}
    source = ASTSource(kernel, types, constants)
    found = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    print(kernel.__name__, size, capability, len(found.asm["cubin"]), found.metadata.shared)
"""


@pytest.mark.parametrize(
    ("size", "capability"),
    [
        (1024, 90),
        *(
            pytest.param(size, capability, marks=pytest.mark.slow)
            for size in (4, 1024, 16384, 65536)
            for capability in (75, 80, 90)
        ),
    ],
)
def test_kernels_compile_for_devices(tmp_path, size, capability):
    """Which takes no device; they are compiled in a process that does not interpret them."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    run = subprocess.run(
        [sys.executable, "-c", COMPILE, str(size), str(capability)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.count("\n") == 5
