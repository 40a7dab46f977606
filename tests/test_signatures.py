"""Parts and builders show their own arguments: to `inspect`, to `help` and to type checkers."""

import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from intaglio.codecs.part import Part
from intaglio.codecs.quantizers import FSQ

ROOT = Path(__file__).parent.parent
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

SCRIPT = """\
from intaglio.codecs.audio.speech_small import speech_small
from intaglio.codecs.encoders import SEANetEncoder
from intaglio.codecs.quantizers import FSQ

quantizer = FSQ(8, levels=(5, 5, 5))
misspelt = FSQ(8, levles=(5, 5, 5))
missing = FSQ()
mistyped = SEANetEncoder("eight", (2, 5))
foreign = speech_small(bitrate=3)
print(quantizer, misspelt, missing, mistyped, foreign)
"""
WRONG_LINES = {6, 7, 8, 9}


def defined(folder: str) -> list[Any]:
    """Every public class and function that the modules of a sub-package define."""
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        name = ".".join(["intaglio", *path.relative_to(ROOT).with_suffix("").parts])
        module = importlib.import_module(name.removesuffix(".__init__"))
        found += [
            value
            for key, value in vars(module).items()
            if not key.startswith("_") and getattr(value, "__module__", None) == module.__name__
        ]
    return found


DEFINED = [value for folder in ("codecs", "generators") for value in defined(folder)]
PARTS = [value for value in DEFINED if inspect.isclass(value) and issubclass(value, Part)]


def gives_a_part(value: Any) -> bool:
    if not inspect.isfunction(value):
        return False
    try:
        made = inspect.get_annotations(value, eval_str=True).get("return")
    except NameError:  # a name that only type checkers import
        return False
    return inspect.isclass(made) and issubclass(made, Part)


BUILDERS = [value for value in DEFINED if gives_a_part(value)]


def test_a_part_shows_its_arguments() -> None:
    parameters = inspect.signature(FSQ).parameters
    assert list(parameters) == ["dim", "levels", "standardise", "noise_dropout", "margin"]
    assert parameters["levels"].default == (8, 5, 5, 5)


def test_a_part_has_no_metaclass_that_takes_the_place_of_its_constructor() -> None:
    """Pyright and `inspect` read ``__call__`` of a metaclass before the constructor of a class."""
    assert type(Part).__call__ is type.__call__


@pytest.mark.parametrize("maker", PARTS + BUILDERS, ids=lambda maker: maker.__qualname__)
def test_every_part_and_builder_has_a_true_signature(maker: Callable[..., Part]) -> None:
    parameters = list(inspect.signature(maker).parameters.values())
    function = inspect.unwrap(maker.__init__ if inspect.isclass(maker) else maker)
    names = function.__code__.co_varnames[: len(parameters) + inspect.isclass(maker)]
    assert [one.name for one in parameters] == list(names)[inspect.isclass(maker) :]
    for one in parameters:
        assert one.kind not in VARIADIC, f"{one} says nothing"
        assert one.annotation is not inspect.Parameter.empty, f"{one} has no type"


def checked_by_pyright(script: Path) -> str:
    """What basedpyright says, which is pyright with a Node.js of its own, by pyright's rules."""
    pytest.importorskip("basedpyright")
    config = script.with_name("pyrightconfig.json")
    config.write_text(
        json.dumps(
            {
                "include": [script.name],
                "extraPaths": [str(ROOT / ".links")],
                "typeCheckingMode": "standard",
            }
        )
    )
    command = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable]
    return subprocess.run([*command, "-p", str(config)], capture_output=True, text=True).stdout


def checked_by_mypy(script: Path) -> str:
    config = script.with_name("mypy.ini")
    config.write_text(
        f"[mypy]\nmypy_path = {ROOT / '.links'}\nignore_missing_imports = true\n"
        "follow_imports = silent\n"
        # what stands in the libraries does not matter here, and torch takes minutes to read
        "[mypy-torch.*,einops.*,numpy.*,lightning.*,torchaudio.*,vector_quantize_pytorch.*]\n"
        "follow_imports = skip\n"
    )
    command = [sys.executable, "-m", "mypy", "--config-file", str(config)]
    command += ["--cache-dir", str(script.with_name("cache")), str(script)]
    return subprocess.run(command, capture_output=True, text=True).stdout


@pytest.mark.parametrize("check", [checked_by_pyright, checked_by_mypy])
def test_a_type_checker_reports_wrong_arguments(
    check: Callable[[Path], str], tmp_path: Path
) -> None:
    if not (ROOT / ".links" / "intaglio").exists():
        pytest.skip("the links of type checkers are missing: run make")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    said = check(script)
    reported = {int(line) for line in re.findall(r"script\.py:(\d+):.*\berror: ", said)}
    assert reported == WRONG_LINES, said
