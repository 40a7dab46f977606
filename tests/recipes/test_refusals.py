"""What a recipe or its options lack is said with what to give; the help of training is a page."""

import pytest

from intaglio.recipes.cli import TRAINING, find
from intaglio.recipes.training.refusals import in_words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no recipe is given (fit.data, fit.model): -c audio/speech_small; --help names"),
        (["-c", "audio/speech_small"], "there are no data: give --data.root FOLDER, a manifest or"),
        (["-c", "image/llamagen"], "give --data.root FOLDER, with the shards that `intaglio token"),
        (["audio/speech_small"], "unrecognized arguments: audio/speech_small; a recipe is given a"),
        (
            ["-c", "audio/speech_small", "--data.root=x", "--trainer.callbacks+=EarlyStopping"],
            "--trainer.callbacks.monitor must be given, or be set in the recipe",
        ),
        (
            ["-c", "audio/speech_small", "--data.root=x", "--model.codec=intaglio.codecs.old.x"],
            "there is no intaglio.codecs.old.x in this version of intaglio",
        ),
    ],
)
def test_what_is_missing_is_said_with_what_to_give(refusal, words, said):
    assert said in refusal("fit", *words)


def test_a_class_that_has_moved_is_named(monkeypatch):
    monkeypatch.setattr(
        "intaglio.recipes.training.refusals.WRITTEN_PATHS",
        {"intaglio.codecs.now.X": "intaglio.codecs.then.X"},
    )
    text = "Parser key \"model\": Problem with given class_path 'intaglio.codecs.then.X': module 'i"
    assert in_words(text).startswith("intaglio.codecs.then.X is called intaglio.codecs.now.X now")


@pytest.mark.parametrize("command", TRAINING)
def test_the_help_of_training_is_a_page_that_names_the_recipes(intaglio, command):
    status, out, _ = intaglio(command, "--help")
    assert status == 0 and len(out.splitlines()) < 40 and max(map(len, out.splitlines())) <= 100
    assert out.startswith(f"usage: intaglio {command} -c RECIPE")
    for name in ("wavtokenizer", "llamagen", "many_gpus", "--help-all", "--ckpt_path last"):
        assert name in out
    examples = out.partition("examples:")[2].partition("options:")[0].strip().splitlines()
    assert len(examples) == (4 if command == "fit" else 1)
    for line in examples:
        words = line.split()
        assert words[:2] == ["intaglio", command]
        names = [b for a, b in zip(words, words[1:], strict=False) if a == "-c"]
        assert all(find(name) for name in names if name != "RUN/config.yaml")


def test_all_options_are_in_another_help(intaglio):
    status, out, _ = intaglio("fit", "--help-all")
    assert status == 0 and len(out.splitlines()) > 200 and "--trainer.max_steps" in out
