"""What the README and the other documents say is true: their code runs, their commands exist."""

import argparse
import ast
import doctest
import importlib
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from intaglio.recipes.cli import COMMANDS, TRAINING, find
from intaglio.recipes.lightning_cli import build

ROOT = Path(__file__).parent.parent
FOLDERS = (ROOT / "docs", ROOT / "recipes")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(page for one in FOLDERS for page in one.rglob("*.md"))])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PLACEHOLDERS = ("RUN/config.yaml", "COMMAND")
SHELL = (
    "aplay arecord done echo ffmpeg intaglio make pip pre-commit pytest sleep tensorboard uv"
).split()

each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


def blocks(document: Path, language: str) -> list[str]:
    """Contents of the fenced blocks of a language."""
    return [text for name, text in FENCE.findall(document.read_text()) if name == language]


def shell(document: Path) -> Iterator[str]:
    """Commands of the fenced blocks that are for a shell."""
    for block in blocks(document, ""):
        variables = dict(re.findall(r'^([A-Z]+)="([^"]*)"$', block, re.MULTILINE))
        for line in block.replace("\\\n", " ").splitlines():
            for name, value in variables.items():
                line = line.replace(f"${name}", value)
            line = re.sub(r'^[A-Z_]+=("[^"]*"|\S+)( |$)', "", re.sub(r"\$[A-Z_]+", "1", line))
            for command in re.split(r" [|] |; ", line.partition(" #")[0]):
                command = re.sub(r"^(until|do) |^[.]venv/bin/", "", command)
                yield from filter(None, [re.split(r" [<>] ", command)[0].strip()])


def code(document: Path) -> Iterator[str]:
    """Commands of the fenced blocks that are for a shell, and inline code."""
    yield from shell(document)
    for text in re.findall(r"`([^`]+)`", FENCE.sub("", document.read_text())):
        yield " ".join(text.split())


def commands(document: Path) -> Iterator[list[str]]:
    """Words behind ``intaglio`` of every command line."""
    for line in code(document):
        if line.startswith("intaglio "):
            words = shlex.split(line)
            if words[1] not in PLACEHOLDERS:
                yield words[1:]


@each_document
def test_python_blocks_run_in_order(document: Path, in_tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(document, "python"):
        exec(compile(block, str(document), "exec"), names)


def test_the_held_out_recordings_of_the_card_of_speech(in_tmp_path: Path) -> None:
    [block] = blocks(ROOT / "recipes" / "weights" / "speech" / "MODEL_CARD.md", "python")
    names: dict[str, Any] = {}
    exec(block, names)
    kept = {"speaker": "IAN", "seconds": 1.5, "text": "one two three four"}
    others = [kept | {"speaker": "JOE"}, kept | {"seconds": 1.4}, kept | {"text": "one two three"}]
    clips = [
        one | {"path": f"{4 - number}.mp3"} for number, one in enumerate([kept, *others, kept])
    ]
    Path("manifest.jsonl").write_text("\n".join(map(json.dumps, clips)))
    names["write_held_out"](in_tmp_path)
    found = [json.loads(line) for line in Path("held_out.jsonl").read_text().splitlines()]
    paths = [str(in_tmp_path / name) for name in ("0.mp3", "4.mp3")]  # by the SHA-256 of the names
    assert [one["path"] for one in found] == paths


@each_document
def test_yaml_blocks_name_what_exists(document: Path) -> None:
    for block in blocks(document, "yaml"):
        check_class_paths(yaml.safe_load(block))


@each_document
def test_commands_exist_and_take_their_options(document: Path) -> None:
    known = {name for group in COMMANDS.values() for name in group}
    for name, *words in commands(document):
        assert name in known, f"there is no `intaglio {name}`"
        if name in TRAINING:
            for option, recipe in zip(words, words[1:], strict=False):
                assert option != "-c" or recipe in PLACEHOLDERS or find(recipe)
        elif words:
            parser = argparse.ArgumentParser(exit_on_error=False)
            importlib.import_module(f"intaglio.recipes.commands.{name}").add_arguments(parser)
            try:
                parser.parse_args(words)
            except (SystemExit, argparse.ArgumentError) as error:
                pytest.fail(f"intaglio {shlex.join([name, *words])}: {error}")


@each_document
def test_training_commands_take_their_options(
    document: Path, monkeypatch: Any, capsys: Any
) -> None:
    """Every word is parsed, as for ``--print_config``: a recipe has the arguments that are set."""
    monkeypatch.setattr("sys.argv", ["intaglio"])
    for name, *words in commands(document):
        if name in TRAINING and words and not {*words} & {*PLACEHOLDERS}:
            recipes = [find(b) if a == "-c" else b for a, b in pairwise(["", *words])]
            with pytest.raises(SystemExit) as left:
                build([name, *recipes, "--print_config"])
            assert left.value.code == 0, f"intaglio {shlex.join([name, *words])}"
            capsys.readouterr()


@each_document
def test_what_other_programs_are_given_exists(document: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"])
    for line in code(document):
        for names in re.findall(r"pip install .*\[([\w,]+)\]", line):
            assert extras.issuperset(names.split(",")) or "ray" in line, line
        if line.startswith("pytest "):
            paths = [word for word in shlex.split(line)[1:] if "/" in word]
            assert paths and all((ROOT / path).exists() for path in paths), line
    for line in shell(document):
        assert shlex.split(line)[0] in SHELL, line


@each_document
def test_text_blocks_are_python_or_yaml_that_names_what_exists(document: Path) -> None:
    """They need weights, other packages or hours; some are run by tests of their own."""
    for block in blocks(document, "text"):
        if "import " not in block:
            check_class_paths(yaml.safe_load(block))
            continue
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("intaglio"):
                exec(ast.unparse(node), {})


@each_document
def test_make_targets_exist(document: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert "test" in targets
    for line in code(document):
        if found := re.match(r"make ([a-z]+)", line):
            assert found[1] in targets, line


@each_document
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", document.read_text())
    inside = [link for link in links if "://" not in link]
    assert [link for link in inside if not (document.parent / link).exists()] == []


def test_every_document_is_linked_from_another() -> None:
    texts = {path: path.read_text() for path in DOCUMENTS}
    pages = [path for path in DOCUMENTS if path.parent != ROOT]
    lost = [
        page
        for page in pages
        if not any(f"{page.name})" in text for path, text in texts.items() if path != page)
    ]
    assert not lost


def test_every_command_is_documented() -> None:
    shown = {words[0] for words in commands(ROOT / "docs" / "commands.md")}
    assert shown == {name for group in COMMANDS.values() for name in group}


def test_continuous_integration_does_what_the_readme_says() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    steps = [line for line in lines if line and not line.startswith(("#", "set ", "cd "))]
    readme = [line.partition(" #")[0].strip() for line in code(ROOT / "README.md")]
    assert "make test" in steps
    assert [step for step in steps if step not in readme] == []


def test_examples_in_docstrings() -> None:
    for folder in ("codecs", "data", "export", "generators", "recipes"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if ">>> " in path.read_text():
                parts = path.relative_to(ROOT).with_suffix("").parts
                name = ".".join(["intaglio", *parts]).removesuffix(".__init__")
                assert doctest.testmod(importlib.import_module(name)).failed == 0, name


def check_class_paths(recipe: Any) -> None:
    """Every class path in a piece of a recipe names a class or a builder."""
    for path in class_paths(recipe):
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), path


def class_paths(value: Any) -> Iterator[str]:
    """Every class path in a piece of a recipe."""
    if isinstance(value, dict):
        yield from [value["class_path"]] if "class_path" in value else []
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from class_paths(item)
