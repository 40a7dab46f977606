"""A checkpoint gives weights and states: no class, no code and no argument."""

import copy
import shutil
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer

from intaglio.codecs.losses.waveform import WaveformLoss
from intaglio.codecs.task import CodecTask
from intaglio.recipes.callbacks.checkpoint_files import CheckedIO, newest
from intaglio.recipes.callbacks.loop_counters import check_counters
from intaglio.recipes.callbacks.run_folder import RunTrainer
from intaglio.recipes.lightning_cli import TrainingCLI


@pytest.fixture
def run(unbroken, launcher, tmp_path):
    """A copy of a finished run; gives its checkpoint. A module `evil` can be imported there."""
    shutil.copytree(unbroken.folder / "run", tmp_path / "run")
    (launcher.modules / "evil.py").write_text("raise SystemExit('evil was imported')")
    return tmp_path / "run/version_0/checkpoints/last.ckpt"


def test_the_class_is_that_of_the_recipe_in_all_commands(run, launcher, tiny_recipe, tmp_path):
    """Lightning imports and builds the class that a checkpoint names."""
    content = torch.load(run, weights_only=True)
    content["hyper_parameters"] = {"_class_path": "evil.Task", "_instantiator": "evil.build"}
    torch.save(content, run)
    for command in ("fit", "predict"):
        status = launcher.run(tmp_path, command, "-c", tiny_recipe, "--ckpt_path", run)
        output = (tmp_path / "output.txt").read_text()
        assert status == 1 and "Traceback" not in output, output
        assert "evil was imported" not in output
        assert "error: the checkpoint was trained with another model: _class_path" in output


def test_states_that_do_not_fit_are_one_line(run, launcher, tiny_recipe, tmp_path):
    whole = torch.load(run, weights_only=True)
    words = ("-c", tiny_recipe, "--trainer.max_steps=30", "--ckpt_path", run)
    loops = copy.deepcopy(whole["loops"])
    loops["fit_loop"]["epoch_progress"]["current"]["completed"] = "many"
    optimizer = whole["optimizer_states"][0] | {"state": {0: {"exp_avg": torch.zeros(3)}}}
    changes = ({"loops": loops}, {"optimizer_states": [optimizer] * 2})
    for change in changes:
        torch.save(whole | change, run)
        assert launcher.run(tmp_path, "fit", *words) == 1
        (line,) = (tmp_path / "output.txt").read_text().splitlines()[-1:]
        assert line.startswith(f"intaglio: error: cannot go on from the checkpoint {run}: ")
        assert "Traceback" not in (tmp_path / "output.txt").read_text()


def test_a_training_does_not_begin_anew_without_a_word(run, launcher, tiny_recipe, tmp_path):
    torch.save(torch.load(run, weights_only=True) | {"loops": {"fit_loop": {}}}, run)
    words = ("-c", tiny_recipe, "--trainer.max_steps=30", "--ckpt_path", run)
    assert launcher.run(tmp_path, "fit", *words) == 1
    output = (tmp_path / "output.txt").read_text()
    (line,) = output.splitlines()[-1:]
    assert line.startswith(f"intaglio: error: cannot go on from the checkpoint {run}: its counters")
    assert "Traceback" not in output


def test_counters_are_all_there_and_fit_the_steps():
    counts = Trainer(logger=False, accelerator="cpu").fit_loop.state_dict()
    name = "epoch_loop.batch_progress"
    check_counters({"global_step": 0, "loops": {"fit_loop": counts}}, counts)
    total = counts[name]["total"]
    less = {key: value for key, value in counts.items() if key != name}
    for loops, reason in (
        (None, "does not say how far"),
        ({}, "does not say how far"),
        ({"fit_loop": {}}, "are missing"),
        ({"fit_loop": less}, f"{name} are missing"),
        ({"fit_loop": counts | {name: {"total": total}}}, f"{name} are missing"),
        ({"fit_loop": counts | {name: counts[name] | {"total": total | {"ready": -1}}}}, name),
        ({"fit_loop": counts | {name: counts[name] | {"total": total | {"ready": "1"}}}}, name),
    ):
        content = {"global_step": 0} | ({} if loops is None else {"loops": loops})
        with pytest.raises(ValueError, match=reason):
            check_counters(content, counts)
    with pytest.raises(ValueError, match="it is of step 3, and its counters are of step 0"):
        check_counters({"global_step": 3, "loops": {"fit_loop": counts}}, counts)


def test_last_falls_back_to_one_that_holds_no_code(run, launcher, tiny_recipe, tmp_path):
    torch.save(Payload(), run)
    words = ("-c", tiny_recipe, "--ckpt_path", "last", "--model.init_args.warmup_steps=4")
    assert launcher.run(tmp_path, "fit", *words) == 0
    output = (tmp_path / "output.txt").read_text()
    assert "last.ckpt is damaged or foreign" in output and "code ran" not in output
    assert "Restored all states from the checkpoint at run/version_0/checkpoints/previous" in output
    assert torch.load(run, weights_only=True)["global_step"] == 24


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_every_command_says_that_a_checkpoint_is_data(command, tmp_path):
    """Also to a reader that the recipe puts in the place of ours."""
    trainer = RunTrainer(default_root_dir=tmp_path, logger=False, accelerator="cpu")
    cli = SimpleNamespace(trainer=trainer, config_init={command: {"ckpt_path": "a.ckpt"}})
    TrainingCLI._choose_checkpoint(cli, command, required=True)
    assert cli.config_init[command] == {"ckpt_path": "a.ckpt", "weights_only": True}


class Payload:
    """Runs code where a pickle is read as such."""

    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (Payload(), "could run code"),
        ({"state_dict": {}, "callbacks": Payload()}, "could run code"),
        ([{"state_dict": {}}], "of no training"),
        ({"hyper_parameters": {}}, "of no training"),
        ({"state_dict": [1]}, "of no training"),
        ({"state_dict": {"x": "text"}}, "of no training"),
        ({"state_dict": {}, "loops": 3}, "of no training"),
        ({"state_dict": {}, "optimizer_states": {}}, "of no training"),
        ({"state_dict": {}, "lr_schedulers": ["junk"]}, "of no training"),
        ({"state_dict": {}, "lr_schedulers": [{"last_epoch": "junk"}]}, "of no training"),
        (
            {"state_dict": {}, "lr_schedulers": [{"_step_count": -1, "last_epoch": 1}]},
            "of no train",
        ),
    ],
)
def test_what_is_no_checkpoint_is_refused_whatever_is_asked(content, reason, tmp_path, capsys):
    path = tmp_path / "checkpoints/last.ckpt"
    path.parent.mkdir()
    torch.save({"state_dict": {}}, path.with_name("previous.ckpt"))
    torch.save(content, path)
    for weights_only in (True, False, None):
        with pytest.raises(ValueError, match=f"last.ckpt is damaged or foreign.*{reason}"):
            CheckedIO().load_checkpoint(path, weights_only=weights_only)
    with pytest.warns(UserWarning, match="trying the one before"):
        assert newest(tmp_path) == path.with_name("previous.ckpt")
    assert "code ran" not in capsys.readouterr().out


@pytest.fixture
def task(tiny_codec):
    """A task, and what a checkpoint of it holds."""
    made = CodecTask(tiny_codec, {"wave": WaveformLoss()})
    content = {"state_dict": dict(made.state_dict()), "hyper_parameters": {}}
    return made, content


def test_weights_of_another_model_are_refused_before_they_are_loaded(task):
    made, content = task
    made.on_load_checkpoint(content)
    for key, value in (("codec.decoder.head.out.bias", torch.zeros(3)), ("x", torch.zeros(1))):
        other = {**content, "state_dict": {**content["state_dict"], key: value}}
        with pytest.raises(ValueError, match=f"another model: {key} differ; give the recipe"):
            made.on_load_checkpoint(other)


def test_other_arguments_of_a_part_are_another_model_also_where_all_shapes_are_the_same(task):
    made, content = task
    made.hparams["codec"] = {"class_path": "some.codec", "init_args": {"rate": 1}}
    made.on_load_checkpoint(content | {"hyper_parameters": copy.deepcopy(dict(made.hparams))})
    other = {"codec": {"class_path": "some.codec", "init_args": {"rate": 2}}}
    with pytest.raises(ValueError, match="another model: codec differ; give the recipe"):
        made.on_load_checkpoint(content | {"hyper_parameters": other})


def test_a_training_takes_only_its_own_counters_from_a_checkpoint(task):
    made, content = task
    made.on_load_checkpoint(content | {"training": {"codec": 3, "skipped": 2, "batches": "many"}})
    assert (made.skipped, made.batches) == ({"generator": 2}, 0) and made.codec != 3
