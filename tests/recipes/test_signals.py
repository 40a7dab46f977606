"""A signal ends a training after the current step, and what is saved is complete."""

import os
import signal
import time

import pytest
import torch

SENDING = '''
"""Sends a signal to its own process at a chosen moment."""

import os

from lightning.pytorch import Callback


class Send(Callback):
    def __init__(self, signal: int, step: int, moment: str) -> None:
        self.signal, self.step, self.moment = signal, step, moment

    def send(self, trainer, moment):
        if moment == self.moment and trainer.global_step == self.step:
            os.kill(os.getpid(), self.signal)

    def on_before_backward(self, trainer, pl_module, loss):
        self.send(trainer, "backward")

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        self.send(trainer, "validation")
'''


@pytest.fixture
def overlay(launcher, tmp_path):
    """An overlay that sends a signal."""
    (launcher.modules / "sending.py").write_text(SENDING)

    def write(number, step, moment):
        path = tmp_path / "send.yaml"
        path.write_text(
            "trainer:\n  callbacks+:\n    - {class_path: sending.Send, "
            f"init_args: {{signal: {int(number)}, step: {step}, moment: {moment}}}}}\n"
        )
        return path

    return write


def saved(folder):
    """The one checkpoint of a run; nothing half-written is next to it."""
    paths = list(folder.glob("run/version_0/checkpoints/*")) + list(
        folder.glob("run/version_0/checkpoints/.*")
    )
    assert {path.name for path in paths} <= {"last.ckpt", "previous.ckpt"}
    return torch.load(folder / "run/version_0/checkpoints/last.ckpt", weights_only=True)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGINT])
def test_the_current_step_is_finished_and_saved(launcher, tiny_recipe, overlay, tmp_path, number):
    words = ("fit", "-c", tiny_recipe, "-c", overlay(number, 4, "backward"))
    assert launcher.run(tmp_path, *words) == 128 + number, launcher.output.read_text()
    assert saved(tmp_path)["global_step"] == 4  # sent during the step of the discriminator
    assert "Traceback" not in launcher.output.read_text()


def test_a_training_resumes_after_a_signal(launcher, tiny_recipe, overlay, tmp_path, unbroken):
    """The aborted validation is repeated, and the training ends like an uninterrupted one."""
    words = ("fit", "-c", tiny_recipe, "--ckpt_path", "last")
    status = launcher.run(tmp_path, *words, "-c", overlay(signal.SIGTERM, 10, "validation"))
    assert status == 143, launcher.output.read_text()
    assert saved(tmp_path)["global_step"] == 10
    assert launcher.run(tmp_path, *words) == 0, launcher.output.read_text()
    unbroken.compare(tmp_path)
    log = (tmp_path / "run/version_1/metrics.csv").read_text().splitlines()
    column = log[0].split(",").index("val/wave")
    assert len([line for line in log[1:] if line.split(",")[column]]) == 2  # of epochs 1 and 3


def test_a_signal_from_outside_ends_an_endless_training(launcher, tiny_recipe, tmp_path):
    process = launcher.start(tmp_path, "fit", "-c", tiny_recipe, "--trainer.max_steps=-1")
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("run/version_0/checkpoints/last.ckpt")):
        assert time.monotonic() < deadline, launcher.output.read_text()
        time.sleep(0.05)
    os.kill(process, signal.SIGTERM)
    assert launcher.wait(process) == 143
    assert saved(tmp_path)["global_step"] >= 3
