"""Codebooks of two processes stay bit-equal, and are those of one process with both batches.

So are entropies and standardised latents, and the gradients through them.
"""

import runpy
import subprocess
import sys

import pytest
import torch

STEPS, BAD_STEP, EMPTY_STEP = 50, 20, 30

TRAINING = f"""
import sys
import torch
from torch import distributed
from intaglio.codecs.quantizers.binary import BinaryQuantizer
from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.codecs.quantizers.ibq import IndexBackpropagationQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer

torch.set_num_threads(1)
folder, rank, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.manual_seed(5)
kinds = {{
    "ema": {{}},
    "cosine": {{"cosine": True, "codebook_dim": 6}},
    "gradient": {{"update": "gradient"}},
    "clustering": {{"revival": "clustering"}},
}}
levels = {{
    name: [VectorQuantizer(8, 32, kmeans_iterations=4, decay=0.8, dead_below=1.0, **changes).train()
           for _ in range(2)]
    for name, changes in kinds.items()
}}
shared = {{
    "lfq": BinaryQuantizer(8, 4, 2, temperature=1.0),
    "per_group": BinaryQuantizer(8, 4, 2, temperature=1.0, batch_entropy="per_group"),
    "bound": BinaryQuantizer(8, 8, kind="bsq", temperature=1.0, enumerated_bits=4),
    "ibq": IndexBackpropagationQuantizer(8, 32, temperature=1.0),
    "standardised": FSQ(8, (5,) * 8, standardise=20),
}}
if size > 1:  # after the quantizers were built, as in a training
    torch.manual_seed(100 + rank)  # processes draw differently
    distributed.init_process_group(
        "gloo", init_method=f"file://{{folder}}/store", rank=rank, world_size=size
    )
revived = 0
for step in range({STEPS}):
    generator = torch.Generator().manual_seed(step)
    latents = 0.2 * step + torch.randn(4, 20, 8, generator=generator)
    lengths = torch.tensor([20, 17, 5, 1])
    if step == {EMPTY_STEP}:
        lengths[2:] = 0
    if step == {BAD_STEP}:
        latents[3, 0, 0] = float("nan")
    share = slice(4 // size * rank, 4 // size * (rank + 1))
    mask = (torch.arange(20) < lengths[:, None])[share]
    for name, pair in levels.items():
        residual = latents[share]
        for level in pair:
            output = level(residual, mask)
            residual = residual - output.values.detach()
            if name == "gradient" and step != {BAD_STEP}:
                gradient, = torch.autograd.grad(output.losses["codebook"], level.codebook)
                if size > 1:
                    distributed.all_reduce(gradient)
                with torch.no_grad():
                    level.codebook.sub_(0.1 * gradient / size)
found = {{}}
for name, quantizer in shared.items():
    for step in range(2):
        generator = torch.Generator().manual_seed(step)
        everything = torch.randn(2, 4, 20, 8, generator=generator)
        latents, weight = everything[:, share]
        latents.requires_grad_()
        lengths = torch.tensor([20, 17, 5, 1])[share]
        mask = torch.arange(20) < lengths[:, None]
        output = quantizer(latents, mask)
        loss = output.losses.get("entropy", (output.values * weight).mean())
        gradient, = torch.autograd.grad(loss, latents)
        found[f"{{name}}.{{step}}"] = (loss.detach(), gradient / size, output.ids)
    found[name] = quantizer.state_dict()
torch.save(found, f"{{folder}}/shared.{{size}}.{{rank}}.pt")
state = {{
    f"{{name}}.{{number}}.{{key}}": value
    for name, pair in levels.items()
    for number, level in enumerate(pair)
    for key, value in level.state_dict().items()
}}
torch.save(state, f"{{folder}}/{{size}}.{{rank}}.pt")
"""


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """State of every process: "1.0" of the one alone, "2.0" and "2.1" of the pair."""
    folder = tmp_path_factory.mktemp("processes")
    script = folder / "training.py"
    script.write_text(TRAINING)
    words = [[str(script), str(folder), rank, size] for rank, size in ("01", "02", "12")]
    pair = [subprocess.Popen([sys.executable, *word]) for word in words[1:]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", words[0])
        runpy.run_path(str(script))
    try:
        assert [process.wait(timeout=120) for process in pair] == [0, 0]
    finally:
        for process in pair:
            process.kill()
    return {path.stem: torch.load(path, weights_only=True) for path in folder.glob("*.pt")}


def trained(states):
    """States of the codebooks alone."""
    return [state for name, state in states.items() if not name.startswith("shared")]


def test_two_processes_have_the_same_codebooks_to_the_bit(states):
    first, second = states["2.0"], states["2.1"]
    assert any("_codebook.codes" in name for name in first)
    for name, value in first.items():
        if "project" not in name:
            assert torch.equal(value, second[name]), name


@pytest.mark.parametrize("kind", ["ema", "cosine", "clustering"])
def test_they_are_those_of_one_process_with_the_whole_batch(states, kind):
    """The gradient of the third kind is a mean over processes, not over positions."""
    for name, value in states["1.0"].items():
        if name.startswith(kind):
            torch.testing.assert_close(states["2.0"][name], value, atol=1e-4, rtol=1e-4)


def test_they_started_revived_and_skipped_together(states):
    for process in trained(states):
        for name, value in process.items():
            if name.endswith("initialised"):
                assert value
            if name.endswith("updates"):
                assert value == STEPS - 1  # without the step that was not finite
            assert value.isfinite().all(), name
    codes = states["1.0"]["ema.0._codebook.codes"]
    assert codes.mean(1).min() > 5  # the data move: codes that were not revived stay behind at 0


@pytest.mark.parametrize("name", ["lfq", "per_group", "bound", "ibq", "standardised"])
def test_entropies_and_statistics_and_their_gradients_are_those_of_the_whole_batch(states, name):
    whole, *pair = (states[f"shared.{process}"] for process in ("1.0", "2.0", "2.1"))
    for key, value in whole[name].items():
        for part in pair:
            torch.testing.assert_close(part[name][key], value, atol=1e-5, rtol=1e-5)
    for step in ("0", "1"):
        loss, gradient, ids = whole[f"{name}.{step}"]
        losses, gradients, parts = zip(*(part[f"{name}.{step}"] for part in pair), strict=True)
        torch.testing.assert_close(torch.stack(losses).mean(), loss, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(torch.cat(gradients), gradient, atol=1e-6, rtol=1e-4)
        assert torch.equal(torch.cat(parts), ids)
        if name != "standardised":  # the shared part is the same number in both
            torch.testing.assert_close(losses[0], losses[1], atol=1e-6, rtol=1e-6)
    assert gradient.abs().sum() > 0
