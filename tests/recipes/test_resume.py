"""A training that is killed and resumed ends bit-equal to an uninterrupted one."""

import random
from pathlib import Path
from typing import NamedTuple

import pytest

EVERY, STEPS = 3, 24  # of the recipe
MOMENTS = ("batch", "backward", "writing", "renaming", "after")

KILLING = '''
"""Kills its own process at a chosen moment, as kill -9 would; records where each start begins."""

import os
import signal

import torch
from lightning.pytorch import Callback


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class Kill(Callback):
    def __init__(self, step: int = -1, moment: str = "") -> None:
        self.step, self.moment = step, moment

    def on_train_start(self, trainer, pl_module):
        with open("starts.txt", "a") as file:
            file.write(f"{trainer.global_step}\\n")
        self.trainer = trainer
        save, replace = torch.save, os.replace

        def half_saved(content, file):
            if self.now("writing"):
                file.write(b"PK" + bytes(5000))
                file.flush()
                die()
            save(content, file)

        def half_renamed(source, target):
            replace(source, target)
            if self.now("renaming"):
                die()

        torch.save, os.replace = half_saved, half_renamed

    def now(self, moment):
        return moment == self.moment and self.trainer.global_step >= self.step >= 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if self.now("batch"):
            die()

    def on_before_backward(self, trainer, pl_module, loss):
        if self.now("backward"):
            die()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if self.now("after"):
            die()
'''


class Blow(NamedTuple):
    """A step, and the moment in it, at which a start is killed."""

    step: int
    moment: str


NONE = Blow(-1, "")


@pytest.fixture(scope="module")
def train(launcher):
    """Start the recipe in a folder, to be killed at a step if one is given; gives the status."""
    (launcher.modules / "killing.py").write_text(KILLING)

    def start(folder: Path, recipe: Path, blow: Blow = NONE, *words: object) -> int:
        overlay = folder / "kill.yaml"
        overlay.write_text(
            "trainer:\n  callbacks+:\n"
            "    - {class_path: killing.Kill, "
            f"init_args: {{step: {blow.step}, moment: '{blow.moment}'}}}}\n"
        )
        recipes = ("-c", recipe, "-c", overlay)
        return launcher.run(folder, "fit", *recipes, "--ckpt_path", "last", *words)

    return start


def starts(folder: Path) -> list[int]:
    """The steps from which a folder's starts went on."""
    return [int(line) for line in (folder / "starts.txt").read_text().split()]


def expected_starts(blows: list[Blow]) -> list[int]:
    """Where each start begins: at the newest complete checkpoint of the ones before."""
    begun, has_last = [0], False
    for step, moment in blows:
        before = (step - 1) // EVERY * EVERY  # saved when the step had not begun
        at_hand = before
        if moment in ("writing", "renaming"):
            has_last |= before > begun[-1]
            struck = -(-step // EVERY) * EVERY  # the first save from this step on
            # the first rename is struck: of the file before, if there is one
            at_hand = struck if moment == "renaming" and not has_last else struck - EVERY
            has_last = has_last != (moment == "renaming")
        else:
            has_last |= before > begun[-1]
        begun.append(max(at_hand, begun[-1]))
    return begun


def run_broken(train, recipe, folder, blows, *words):
    """Kill a training once for each blow, let it end, and check where each start began."""
    for number, blow in enumerate(blows):
        status = train(folder, recipe, blow, *words)
        assert status == -9, f"{blow}: {status}\n{(folder / 'output.txt').read_text()}"
        assert len(starts(folder)) == number + 1
    assert train(folder, recipe, NONE, *words) == 0, (folder / "output.txt").read_text()
    assert starts(folder) == expected_starts(blows)


def test_two_kills_change_nothing(train, tiny_recipe, unbroken, tmp_path):
    """In the middle of a step, of an epoch; in the second epoch and in a later one."""
    run_broken(train, tiny_recipe, tmp_path, [Blow(7, "backward"), Blow(22, "after")])
    unbroken.compare(tmp_path)


def test_a_kill_while_writing_and_a_damaged_file_change_nothing(
    train, tiny_recipe, unbroken, tmp_path
):
    """With two workers; between the starts, one of another model is refused."""
    words = (tiny_recipe, Blow(14, "writing"), "--data.num_workers=2")
    assert train(tmp_path, *words) == -9
    path = tmp_path / "run/version_0/checkpoints/last.ckpt"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    assert train(tmp_path, tiny_recipe, NONE, "--model.init_args.warmup_steps=9") == 1
    output = (tmp_path / "output.txt").read_text()
    assert "intaglio: error: the checkpoint was trained with another model: warmup_steps" in output
    assert train(tmp_path, tiny_recipe, NONE, *words[2:]) == 0
    assert (tmp_path / "output.txt").read_text().count("last.ckpt is damaged") == 1
    assert starts(tmp_path) == [0, 9]  # 12 was damaged, 15 half-written
    assert {file.name for file in path.parent.iterdir()} == {"last.ckpt", "previous.ckpt"}
    unbroken.compare(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_twenty_kills_change_nothing(train, tiny_recipe, unbroken, tmp_path, workers):
    draw = random.Random(workers)
    for round_ in range(5):
        folder = tmp_path / str(round_)
        folder.mkdir()
        steps = sorted(draw.sample(range(1, STEPS), 4))
        blows = [Blow(step, draw.choice(MOMENTS)) for step in steps]
        run_broken(train, tiny_recipe, folder, blows, f"--data.num_workers={workers}")
        unbroken.compare(folder)


@pytest.mark.slow
def test_a_training_can_be_made_longer(train, tiny_recipe, unbroken, tmp_path):
    """The first ended in the middle of an epoch; the rate must not depend on the end."""
    finals = []
    for name, lengths in (("one", [18]), ("two", [8, 18]), ("three", [10, 15, 18])):
        folder = tmp_path / name
        folder.mkdir()
        for steps in lengths:
            words = (f"--trainer.max_steps={steps}", "--model.init_args.final_rate=1")
            assert train(folder, tiny_recipe, NONE, *words) == 0
        finals.append(folder)
    for folder in finals[1:]:
        unbroken._replace(folder=finals[0]).compare(folder)
