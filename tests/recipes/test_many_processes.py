"""Two processes train like one with the whole batch, stop together and resume together."""

import contextlib
import os
import re
import signal
import socket
from pathlib import Path

import pytest
import torch

PROBING = '''
"""Spoils a batch of one process, sends a signal to one, and records the weights of both."""

import os
import signal

import torch
from lightning.pytorch import Callback


class Probe(Callback):
    def __init__(self, stop_at: int = -1, signal: int = signal.SIGTERM) -> None:
        self.stop_at, self.signal, self.hook = stop_at, signal, None

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if pl_module.batches == 5:  # in one process, the same item as in a single one
            if trainer.world_size == 1:
                batch["wave"][3] = float("nan")
            elif trainer.global_rank == 1:
                batch["wave"][1] = float("nan")
        if pl_module.batches == 9 and trainer.global_rank == trainer.world_size - 1:
            loss = pl_module.losses["wave"]  # infinite, with a finite gradient
            self.hook = loss.register_forward_hook(lambda *call: call[-1] + float("inf"))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if self.hook is not None:
            self.hook.remove()

    def on_before_backward(self, trainer, pl_module, loss):
        rank = 0 if self.signal == signal.SIGTERM else 1
        if trainer.global_rank == rank and trainer.global_step == self.stop_at:
            os.kill(os.getpid(), self.signal)

    def on_train_end(self, trainer, pl_module):
        torch.save(pl_module.state_dict(), f"state_{trainer.world_size}_{trainer.global_rank}.pt")
'''

CHANGES = """
model:
  init_args:
    codec: {init_args: {decoder: {init_args: {dropout: 0.0}}}}
    optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.01}}
    max_skipped: 3
data:
  init_args: {samples_per_epoch: 23}
trainer:
  max_steps: 14
  callbacks+:
    - {class_path: probing.Probe, init_args: {stop_at: STOP, signal: SIGNAL}}
"""


@pytest.fixture(scope="module")
def words(launcher, tiny_recipe, tmp_path_factory):
    """Words of a command that stops at a step, if one is given."""
    (launcher.modules / "probing.py").write_text(PROBING)

    def write(stop: int = -1, number: int = signal.SIGTERM) -> list[object]:
        overlay = tmp_path_factory.mktemp("overlay") / "changes.yaml"
        overlay.write_text(CHANGES.replace("STOP", str(stop)).replace("SIGNAL", str(int(number))))
        return ["fit", "-c", tiny_recipe, "-c", overlay, "--ckpt_path", "last"]

    return write


@pytest.fixture(scope="module")
def pair_of(launcher):
    """Start a command in two processes; gives both."""

    def start(folder: Path, *words: object) -> list[int]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        many = ("-c", "overlays/many_gpus", "--trainer.devices=2", "--trainer.accelerator=cpu")
        common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
        return [
            launcher.start(
                folder, words[0], *many, *words[1:], environment=common | {"LOCAL_RANK": rank}
            )
            for rank in "01"
        ]

    return start


@pytest.fixture(scope="module")
def train_pair(launcher, pair_of):
    """Run a command in two processes; gives both statuses."""

    def run(folder: Path, *words: object) -> list[int]:
        return [launcher.wait(process) for process in pair_of(folder, *words)]

    return run


def state(folder: Path, size: int, rank: int) -> dict[str, torch.Tensor]:
    return torch.load(folder / f"state_{size}_{rank}.pt", weights_only=True)


@pytest.fixture(scope="module")
def pair(train_pair, words, tmp_path_factory):
    """Folder of an uninterrupted training of two processes."""
    folder = tmp_path_factory.mktemp("pair")
    assert train_pair(folder, *words()) == [0, 0], (folder / "output0.txt").read_text()
    return folder


def test_two_processes_train_as_one(launcher, pair, words, tmp_path):
    """With clips that cannot be divided evenly, also for validation, and a bad batch in one."""
    first, second = state(pair, 2, 0), state(pair, 2, 1)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    status = launcher.run(tmp_path, *words(), "--data.batch_size=4")
    assert status == 0, launcher.output.read_text()
    for name, value in state(tmp_path, 1, 0).items():
        torch.testing.assert_close(first[name], value, atol=2e-4, rtol=1e-3, msg=name)
    output = (pair / "output0.txt").read_text()
    of_rank_1 = r"skipped step 5: .* loss .* not finite, on rank 1: synthetic/\d+ \(not finite the"
    assert re.search(of_rank_1, output)  # it alone had the poisoned clip; here its name is told
    assert re.search(r"skipped step 8: .* on rank 1: synthetic/\d+, synthetic/\d+$", output, re.M)


def test_two_processes_stop_and_resume_together(train_pair, pair, words, tmp_path):
    assert train_pair(tmp_path, *words(stop=8)) == [143, 0], (tmp_path / "output0.txt").read_text()
    assert train_pair(tmp_path, *words()) == [0, 0], (tmp_path / "output0.txt").read_text()
    assert "Restored all states" in (tmp_path / "output0.txt").read_text()
    for rank in (0, 1):
        for name, value in state(pair, 2, rank).items():
            assert torch.equal(state(tmp_path, 2, rank)[name], value), name


@pytest.mark.parametrize(
    ("number", "limit", "said"),
    [
        (
            signal.SIGKILL,
            "0:10:00",
            "one of the 2 processes of the training has ended or was killed",
        ),
        pytest.param(
            signal.SIGSTOP,
            "0:01:00",
            "one of the 2 processes of the training has not answered for 0:01:00",
            marks=pytest.mark.slow,  # it waits for as long
        ),
    ],
)
def test_a_process_that_goes_ends_the_other_with_a_sentence(
    launcher, pair_of, words, tmp_path, number, limit, said
):
    first, second = pair_of(tmp_path, *words(8, number), f"--trainer.strategy.timeout={limit}")
    assert launcher.wait(first) == 1, launcher.output.read_text()
    with contextlib.suppress(ProcessLookupError):
        os.kill(second, signal.SIGKILL)
    launcher.wait(second)
    output = (tmp_path / "output0.txt").read_text()
    [line] = [line for line in output.splitlines() if line.startswith("intaglio: error: ")]
    assert said in line and "Traceback" not in output
    checkpoint = "run/version_0/checkpoints/last.ckpt"
    assert f"the last checkpoint of step 6 is {checkpoint}: give the same" in line
