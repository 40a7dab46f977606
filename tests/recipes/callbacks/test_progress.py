"""What a training says: what it found and where it writes, then a line with the time left."""

import os
import re
import types
from pathlib import Path

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from intaglio.recipes.callbacks import progress, run_summary
from intaglio.recipes.callbacks.progress import StepProgress


@pytest.fixture(scope="module")
def output(launcher, tiny_recipe, tmp_path_factory):
    """What a short training prints, with the interval of logs left at 50 steps; and its folder."""
    folder = tmp_path_factory.mktemp("short")
    words = ["fit", "-c", tiny_recipe, "--trainer.max_steps=7", "--trainer.log_every_n_steps=50"]
    words += ["--trainer.enable_progress_bar=true", "--trainer.val_check_interval=5"]
    words += ["--trainer.check_val_every_n_epoch=null"]
    assert launcher.run(folder, *words) == 0, launcher.output.read_text()
    return (folder / "output.txt").read_text(), folder


def test_the_run_is_introduced_in_one_block(output):
    lines = output[0].splitlines()
    start = lines.index("data  SyntheticAudio")
    assert start == 0
    model, steps, run = lines[1:4]
    assert re.fullmatch(
        r"model tiny, codec [\d.]+ M parameters, adversaries [\d.e-]+ M param.*", model
    )
    assert steps == "steps 7, on cpu, precision 32-true"
    assert run == "run   run/version_0"
    assert lines[-1] == "trained 7 steps: run/version_0/checkpoints/last.ckpt"


def test_nothing_else_is_said_than_the_steps(output):
    lines = output[0].splitlines()
    own = r"(data|model|steps|run) |\d+/7 steps|step 5, validation: wave |validation, |trained 7"
    assert [line for line in lines if not re.match(own, line)] == []
    assert max(map(len, lines)) < 80 and any(line.startswith("7/7 steps, wave") for line in lines)


def test_the_log_of_a_short_training_has_its_steps(output):
    header, *rows = (output[1] / "run/version_0/metrics.csv").read_text().splitlines()
    column = header.split(",").index("train/loss")
    assert sum(bool(row.split(",")[column]) for row in rows) == 7


def test_a_training_that_ends_early_says_why(launcher, tiny_recipe, tmp_path):
    words = ["fit", "-c", tiny_recipe, "--trainer.val_check_interval=2"]
    words += ["--trainer.check_val_every_n_epoch=null", "--trainer.callbacks+=EarlyStopping"]
    words += ["--trainer.callbacks.monitor=val/wave"]
    words += ["--trainer.callbacks.patience=1", "--trainer.callbacks.min_delta=10"]
    assert launcher.run(tmp_path, *words) == 0
    lines = launcher.output.read_text().splitlines()
    why = r"val/wave did not improve in 1 check; the best was 0\.\d+"
    assert re.fullmatch(f"ended early: {why}", lines[-2])
    assert lines[-1] == "trained 4 steps: run/version_0/checkpoints/last.ckpt"


def test_the_time_limit_is_said_once(launcher, tiny_recipe, tmp_path):
    words = ["--trainer.max_steps=100000", "--trainer.max_time=00:00:00:01"]
    assert launcher.run(tmp_path, "fit", "-c", tiny_recipe, *words) == 0
    text = launcher.output.read_text()
    assert "ended early: the time that --trainer.max_time gives is over\n" in text
    assert "Time limit" not in text


def test_a_finished_training_is_left_alone_and_the_others_end_with_a_line(
    launcher, output, tiny_recipe
):
    folder = output[1]
    words = ["-c", tiny_recipe, "--ckpt_path=last", "--trainer.enable_progress_bar=true"]
    assert launcher.run(folder, "fit", *words, "--trainer.max_steps=7") == 0
    said = "nothing to do: run/version_0/checkpoints/last.ckpt has come to --trainer.max_steps 7; "
    assert said in launcher.output.read_text()
    assert [path.name for path in (folder / "run").iterdir()] == ["version_0"]
    files = "intaglio.recipes.callbacks.predictions.TokenFiles"
    assert launcher.run(folder, "predict", *words, f"--trainer.callbacks+={files}") == 0
    last = launcher.output.read_text().splitlines()[-2:]
    assert last == ["wrote 3 token files: run/version_1/predictions", "predict, 2/2 batches"]
    assert launcher.run(folder, "validate", *words) == 0
    assert "validation, 2/2 batches\n" in launcher.output.read_text()


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand, on a terminal of 60 columns."""
    now = types.SimpleNamespace(time=100.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.time)
    monkeypatch.setattr(progress.shutil, "get_terminal_size", lambda: os.terminal_size((60, 24)))
    return now


@pytest.mark.parametrize("terminal", [False, True])
def test_a_line_has_steps_speed_time_and_the_metrics_that_fit(clock, capsys, terminal):
    bar = StepProgress()
    bar.terminal = terminal
    metrics = {"train/loss": 4.53423, "train/a_long_name": 1.0, "train/other": 2.0, "val/mel": 1.7}
    trainer = types.SimpleNamespace(
        max_steps=5500,
        max_epochs=None,
        num_training_batches=100,
        callbacks=[],
        progress_bar_metrics=metrics,
    )
    for step, seconds in ((1, 40), (2, 0.1), (12, 5.9)):
        clock.time += seconds
        trainer.global_step = step
        bar.on_train_batch_end(trainer, None, None, None, 0)
    last = "12/5500 steps, 1.83 it/s, 0:49:53 left, loss 4.534"
    lines = re.split(r"[\r\n]", capsys.readouterr().err)
    assert (last in lines[-1]) is terminal  # elsewhere the next line is due in half a minute
    clock.time += 30
    bar.on_train_batch_end(trainer, None, None, None, 0)
    shown = capsys.readouterr().err
    assert "left, loss 4.534" in shown and "a_long" not in shown  # nor a part of it


def test_a_task_prints_through_it(capsys):
    """As it does when a step is skipped."""
    module = BoringModel()
    module.trainer = Trainer(callbacks=[StepProgress()], logger=False, enable_checkpointing=False)
    module.print("skipped")
    assert capsys.readouterr().out == "skipped\n"


def test_folders_say_what_they_hold(tmp_path: Path):
    import torch

    from intaglio.data.audio import AudioFolder
    from intaglio.data.formats.wave import write_wave

    for number in range(5):
        write_wave(tmp_path / f"{number}.wav", 0.1 * torch.randn(1, 8000 * (1 + 11 * number)), 8000)
    write_wave(tmp_path / "short.wav", torch.zeros(1, 10), 8000)
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    shares = {"max_bad_share": 0.5, "validation_share": 0, "test_share": 0}
    data = AudioFolder(str(tmp_path), 8000, 0.5, **shares)
    data.setup()
    assert data.summary() == (
        f"{tmp_path}: 5 clips (1.9 min), 1 damaged, 1 left out: 5 to train on, 0 for validation, "
        "0 for the test"
    )
    assert run_summary._data(types.SimpleNamespace(datamodule=data)) == data.summary()
