"""Wrong words of a command line: one line that names the option, status 2, and nothing written."""

import argparse
import importlib

import pytest

from intaglio.codecs import load
from intaglio.codecs.bundle import save
from intaglio.data.sets import get
from intaglio.data.tokens import TokenShards
from intaglio.export.export import export
from intaglio.recipes import cli
from intaglio.recipes.commands.options.words import Parser
from intaglio.recipes.tokenization.flat_ids import write_ids

NAMES = [name for group in cli.COMMANDS.values() for name in group if name not in cli.TRAINING]


def arguments(name):
    """Words before each argument of a command and its sub-commands, and the argument."""
    parser = Parser(prog=name)
    importlib.import_module(f"intaglio.recipes.commands.{name}").add_arguments(parser)
    waiting = [((name,), parser)]
    while waiting:
        words, parser = waiting.pop()
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                waiting += [((*words, key), sub) for key, sub in action.choices.items()]
            elif action.nargs != 0:
                yield words, action


@pytest.mark.parametrize("name", NAMES)
def test_no_argument_of_any_command_may_be_empty(refusal, in_tmp_path, name):
    for words, action in arguments(name):
        for empty in ("", " "):
            given = (action.option_strings[-1], empty) if action.option_strings else (empty,)
            line = refusal(*words, *given, status=2)
            shown = "/".join(action.option_strings)  # a first positional takes the only word
            assert line.startswith(f"argument {shown}"), (words, action.dest)
    assert list(in_tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("encode", "a.wav", "-o", ""), "argument -o/--out: it is empty; is a variable"),
        (("decode", "a.intaglio", "--out="), "argument -o/--out: it is empty"),
        (("ids", "", "-o", "x.npy"), "argument IN: it is empty"),
        (("info", "speech", ""), "argument path: it is empty"),
        (("data", "get", "tedlium"), "argument NAME: there is no set named 'tedlium'; there are "),
        (("export", "speech", "-o", "x", "--format", "tflite"), "formats are onnx, torchscript, "),
        (("export", "speech", "-o", "x", "--format", ","), "argument --format: it is empty"),
        (("export", "speech", "-o", "x", "--format", "llama,onnx"), "llama is for a generator"),
        (("eval", "audio", "--data", "x", "--metrics", " ,"), "argument --metrics: it is empty"),
        (("bench", "head", "--tokens", "4"), "only decode takes --tokens, not head"),
        (("sample", "emoji", "-o", "x", "--accept", "nope"), "argument --accept: there is no"),
        (("encode", "x", "-o", "y", "--stereo", "left"), "argument --stereo: invalid choice"),
    ],
)
def test_wrong_usage_is_one_line_with_status_2(refusal, in_tmp_path, words, reason):
    assert reason in refusal(*words, status=2)
    assert list(in_tmp_path.iterdir()) == []


def test_an_empty_variable_names_no_codec(refusal, in_tmp_path, monkeypatch):
    monkeypatch.setenv("INTAGLIO_CODEC", "")
    assert "no codec is named" in refusal("encode", "a.wav", "-o", "x", status=2)


def test_an_empty_name_is_not_the_current_folder(bundle, in_tmp_path, monkeypatch):
    codec = load(bundle)
    monkeypatch.chdir(bundle)
    for call in (
        lambda: load(""),
        lambda: save(codec, ""),
        lambda: export(codec, "", ["torchscript"]),
        lambda: get("speech-pip", ""),
        lambda: TokenShards("").setup(),
        lambda: write_ids("", in_tmp_path / "x.npy"),
    ):
        with pytest.raises(ValueError, match="is given: its name is empty"):
            call()
