"""The package `intaglio` itself: its names, what importing it costs, and what cannot pose as it.

What needs the package as it is installed has `installed` in its name.
"""

import subprocess
import sys
from pathlib import Path

import pytest

import intaglio


def python(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Python in another working directory, which stands first on its path."""
    command = [sys.executable, *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120)


def test_every_name_of_the_installed_package_is_there() -> None:
    classes = {"AudioCodec", "Codec", "Generator", "ImageCodec"}
    for name in {*intaglio.__all__, *classes, "Quantized", "Reconstruction", "Tokens"}:
        assert getattr(intaglio, name) is not None
        assert name in dir(intaglio)
    assert intaglio.load is intaglio.codecs.load
    assert intaglio.Generator is intaglio.generators.Generator


def test_the_installed_package_refuses_other_names() -> None:
    with pytest.raises(AttributeError, match="'intaglio' has no attribute 'lod'"):
        intaglio.lod  # type: ignore[attr-defined]  # noqa: B018


def test_the_installed_package_explains_itself(tmp_path: Path) -> None:
    said = python("-c", "import intaglio; help(intaglio)", folder=tmp_path).stdout
    assert "intaglio.load(" in said and "quantizers import FSQ" in said
    assert "load(source: " in said and "help(intaglio.Codec)" in said
    assert said.count("\n") < 150


@pytest.fixture(params=["without __init__.py", "with __init__.py"])
def posing(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A working directory with a folder that has the name of the package."""
    (tmp_path / "intaglio").mkdir()
    (tmp_path / "intaglio" / "posing.py").write_text("print('posing ran')")
    if request.param == "with __init__.py":
        (tmp_path / "intaglio" / "__init__.py").touch()
    return tmp_path


def test_a_folder_cannot_pose_as_a_part_of_the_installed_package(posing: Path) -> None:
    """A folder with an ``__init__.py`` is another package, and hides all of this one."""
    code = "import intaglio.recipes.errors, intaglio.posing"
    run = python("-c", code, folder=posing)
    hidden = (posing / "intaglio" / "__init__.py").exists()
    missing = "intaglio.recipes" if hidden else "intaglio.posing"
    assert f"No module named '{missing}'" in run.stderr and "posing ran" not in run.stdout


def test_a_folder_is_not_seen_by_the_installed_package_without_the_working_directory(
    posing: Path,
) -> None:
    run = python("-P", "-c", "import intaglio; print(intaglio.__version__)", folder=posing)
    assert run.stdout.strip() == intaglio.__version__


def test_spawned_processes_find_the_installed_package(tmp_path: Path) -> None:
    (tmp_path / "intaglio").mkdir()
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing, intaglio\n"
        "def version(_): return intaglio.__version__\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.map(version, [0]))\n"
    )
    run = python(str(script), folder=tmp_path)
    assert run.stdout.strip() == str([intaglio.__version__]), run.stderr
