"""The console script: help, exit statuses, recipes by name, training through Lightning."""

import errno
import io
import os
import signal
import subprocess
import sys
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
import yaml

from intaglio.recipes import cli
from intaglio.recipes.errors import explain
from intaglio.recipes.lightning_cli import build, modules_named_in

RECIPE = """
seed_everything: 1
model: {class_path: lightning.pytorch.demos.boring_classes.BoringModel}
data: {class_path: lightning.pytorch.demos.boring_classes.BoringDataModule}
trainer:
  max_steps: 2
  accelerator: cpu
  enable_progress_bar: false
  enable_model_summary: false
  logger: {class_path: lightning.pytorch.loggers.CSVLogger, init_args: {save_dir: logs}}
"""


@pytest.fixture
def recipe(in_tmp_path):
    path = in_tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def command(monkeypatch):
    """Let ``intaglio info`` do something else; it takes one word."""

    def put(run):
        def add_arguments(parser):
            parser.add_argument("word")

        monkeypatch.setitem(
            sys.modules,
            "intaglio.recipes.commands.info",
            SimpleNamespace(add_arguments=add_arguments, run=run),
        )

    return put


def test_help_names_every_command_and_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from intaglio.recipes.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: status = stop.code\n"
        "print(status, 'torch' in sys.modules, 'lightning' in sys.modules)\n"
    )
    words = [sys.executable, "-c", code, "--help"]
    out = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert out.endswith("0 False False\n")
    for group, commands in cli.COMMANDS.items():
        assert f"{group}:" in out
        for name, about in commands.items():
            assert f"  {name:10}{about}" in out


def test_version(intaglio):
    status, out, _ = intaglio("--version")
    assert status == 0 and out.split()[0] == "intaglio" and out.split()[1][0].isdigit()


def test_without_a_command_the_help_is_shown_as_an_error(intaglio):
    status, out, err = intaglio()
    assert (status, out) == (2, "") and "examples:" in err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["encodr"], "did you mean encode?"),
        (["zzz"], "--help"),
        (["info"], "required: path"),
        (["info", "a", "--bad"], "--bad"),
    ],
)
def test_wrong_usage_exits_with_2(intaglio, words, hint):
    status, _, err = intaglio(*words)
    assert status == 2 and hint in err


@pytest.mark.parametrize("name", ["encode", "decode", "info", "doctor"])
def test_every_command_explains_itself(intaglio, name):
    status, out, _ = intaglio(name, "--help")
    assert status == 0 and f"usage: intaglio {name}" in out


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\n  lines"), "two lines"),
        (ValueError(), "ValueError"),
        (FileNotFoundError("there is none"), "there is none"),
        (OSError(errno.ENOSPC, "full", "x/y"), "x/y: the disk is full; free some space"),
        (OSError(errno.ENOSPC, "full"), "the disk is full; free some space"),
        (PermissionError(errno.EACCES, "denied", "x"), "x: permission denied"),
        (OSError(errno.EIO, "Input/output error", "x"), "x: Input/output error"),
        (ModuleNotFoundError("No module named 'av'", name="av"), "the package av is not installed"),
        (ModuleNotFoundError("av is missing: pip install av"), "av is missing: pip install av"),
    ],
)
def test_errors_of_the_user_are_one_line(refusal, command, error, line):
    def run(args):
        raise error

    command(run)
    assert refusal("info", "x").startswith(line)


def test_our_own_errors_keep_their_traceback(intaglio, command):
    def run(args):
        raise RuntimeError("a bug")

    command(run)
    with pytest.raises(RuntimeError, match="a bug"):
        intaglio("info", "x")


def test_the_traceback_is_shown_on_request(intaglio, command, monkeypatch):
    def run(args):
        raise ValueError("no")

    command(run)
    assert "Traceback" not in intaglio("info", "x").err
    call = intaglio
    monkeypatch.setenv("INTAGLIO_TRACEBACK", "1")
    status, _, err = call("info", "x")
    assert status == 1 and "Traceback" in err and err.endswith("intaglio: error: no\n")


@pytest.mark.parametrize("lightning", [False, True])
def test_an_interrupt_is_one_line_and_exits_with_130(intaglio, command, lightning):
    def run(args):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            if lightning:
                sys.exit(1)  # as Lightning's trainer does
            raise

    command(run)
    assert intaglio("info", "x") == (130, "", "" if lightning else "intaglio: interrupted\n")


@pytest.mark.parametrize(
    ("number", "status", "line"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "ended by SIGTERM")],
)
def test_a_signal_is_not_lost_where_a_library_calls_back(intaglio, command, number, status, line):
    """libsndfile loses exceptions of what it calls, and goes on with a damaged file."""

    class Sending(io.BytesIO):
        def write(self, content):
            if not self.getvalue():
                os.kill(os.getpid(), number)
            return super().write(content)

    file = Sending()

    def run(args):
        soundfile.write(file, np.zeros(100), 8000, format="WAV")
        time.sleep(10)

    command(run)
    # what a shell has put into the background ignores it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert intaglio("info", "x") == (status, "", f"intaglio: {line}\n")
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(file.getvalue()) == 244


def test_the_status_of_a_command_is_the_exit_status(intaglio, command):
    command(lambda args: 1)
    assert intaglio("info", "x").status == 1
    command(lambda args: None)
    assert intaglio("info", "x").status == 0


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_a_reader_that_leaves_is_no_error(word):
    read, write = os.pipe()
    os.close(read)
    words = [sys.executable, "-m", "intaglio.recipes", word]
    done = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert done.stderr == ""


def test_recipes_are_found_by_path_and_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "__file__", str(tmp_path / "shipped" / "cli.py"))
    (tmp_path / "shipped" / "audio").mkdir(parents=True)
    (tmp_path / "shipped" / "audio" / "wavtokenizer.yaml").write_text("")
    own = tmp_path / "own.yaml"
    own.write_text("")
    shipped = str(tmp_path / "shipped" / "audio" / "wavtokenizer.yaml")
    assert cli.find(str(own)) == str(own)
    assert cli.find("audio/wavtokenizer") == shipped
    with pytest.raises(ValueError, match="did you mean audio/wavtokenizer?") as caught:
        cli.find("audio/wavtokeniser")
    assert "intaglio recipes" in str(caught.value)


@pytest.mark.parametrize(
    "words", [["-c", "nope"], ["--config", "nope"], ["--config=nope"], ["-c=nope"]]
)
def test_an_unknown_recipe_is_one_line(refusal, words):
    line = refusal("fit", *words)
    assert "there is no recipe 'nope'" in line and "YAML" in line


def test_later_recipes_are_found_too(refusal, recipe):
    assert "'nope'" in refusal("fit", "-c", recipe, "-c", "nope")


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_fit_trains_and_writes_the_recipe_into_every_checkpoint(intaglio, recipe, in_tmp_path):
    status, _, err = intaglio("fit", "-c", recipe, "--trainer.max_steps=3")
    assert status == 0, err
    (path,) = in_tmp_path.rglob("*.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["global_step"] == 3
    written = yaml.safe_load(checkpoint["recipe"])
    assert written["trainer"]["max_steps"] == 3
    assert written["model"] == yaml.safe_load(RECIPE)["model"]
    (saved,) = in_tmp_path.rglob("config.yaml")
    assert yaml.safe_load(saved.read_text())["trainer"]["max_steps"] == 3


def test_modules_are_looked_for_in_values_and_recipes_alone(tmp_path):
    """A checkpoint may have gigabytes, and a list is too long to be a path."""
    recipe, checkpoint = tmp_path / "r.yaml", tmp_path / "c"
    recipe.write_text("class_path: mylib.RoundQ")
    checkpoint.write_text("evil.Task\n" * 200_000)
    words = ["fit", "-c", str(recipe), f"--ckpt_path={checkpoint}", f"--a={['b.wav'] * 99}"]
    assert {"mylib", "b"} <= set(modules_named_in(words)) <= {"mylib", "b", "r"}


def test_build_without_running_gives_the_parts_and_filters_two_warnings(recipe, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["intaglio"])
    built = build(["-c", str(recipe)], run=False)
    assert type(built.model).__name__ == "BoringModel"
    assert built.trainer.max_steps == 2
    warnings.warn(  # what Lightning says of injected modules; an error if it were not filtered
        "Attribute 'codec' is an instance of `nn.Module` and is already saved", stacklevel=1
    )
    with pytest.raises(UserWarning):
        warnings.warn("anything else", stacklevel=1)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("--trainer.max_stepz=3", "max_stepz"),
        ("--trainer.max_steps=x", "Expected a <class 'int'>. Got value: x"),
        ("--model.nowhere=0", "'nowhere' is not accepted"),
    ],
)
def test_wrong_arguments_of_a_recipe_are_one_line(refusal, recipe, word, reason):
    line = refusal("fit", "-c", recipe, word)
    assert reason in line and "Union" not in line and "Given value" not in line


def test_of_the_reasons_against_all_types_the_first_is_reported():
    message = """Parser key "trainer.callbacks":
  Does not validate against any of the Union subtypes
  Subtypes: [list[X], X, None]
  Errors:
    - Problem with an item:
        Does not validate against any of the Union subtypes
        Subtypes: [int, str]
        Errors:
          - cannot log 0 clips - never
            at all
          - Not a string
        Given value type: int
    - Not a valid subclass
    - Expected a NoneType
  Given value type: list
  Given value: [1, 2]"""
    line = explain(ValueError(message))
    reason = "Problem with an item: cannot log 0 clips - never at all"
    assert line == f'Parser key "trainer.callbacks": {reason}'


def test_a_module_is_run_like_the_script():
    words = [sys.executable, "-m", "intaglio.recipes", "fit", "-c", "nope"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("intaglio: error: there is no recipe")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nested too deeply"),
        (f'{{"format_version": {"1" * 5000}}}', "a number has too many digits"),
        ("\xff{}", "it is not UTF-8 text"),
    ],
)
def test_what_python_says_of_a_file_is_put_in_plain_words(refusal, tmp_path, text, words):
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    (tmp_path / "model.safetensors").touch()
    line = refusal("info", tmp_path)
    assert line.startswith(f"{tmp_path / 'config.json'} is not valid JSON: ")
    assert words in line
    assert "recursion" not in line and "set_int" not in line and "codec can't" not in line
