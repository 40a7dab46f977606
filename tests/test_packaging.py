"""The package is what pyproject.toml says: packages, files, dependencies, pins, console script.

Runs against the editable install and, by `make wheel`, against an installed wheel.
"""

import ast
import importlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
WHEEL = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
FOLDERS = [ROOT / folder for folder in WHEEL["only-include"]]
FRONT = ROOT / "recipes" / "package" / "intaglio"

# Dependencies that a library we import loads for us, and the word of ours that makes it do so.
INDIRECT = {
    "jsonargparse": "LightningCLI",
    "omegaconf": "omegaconf+",
    "tensorboard": "TensorBoardLogger",
    "wandb": "WandbLogger",
    "onnx": "torch.onnx",
    "onnxscript": "torch.onnx",
    "librosa": "speechmos",
}
# Comes with torch for Linux and CUDA, in the one version that suits it; samplers go on without it.
WITH_TORCH = {"triton"}


def shipped() -> dict[str, Path]:
    """Every file of the checkout that belongs into the wheel, by its path inside the package."""
    files = {path.name: path for path in (FRONT / "__init__.py", FRONT / "py.typed")}
    for folder in FOLDERS:
        for path in sorted(folder.rglob("*")):
            inside_recipes = path.is_relative_to(ROOT / "recipes")
            weights = path.is_relative_to(ROOT / "recipes" / "weights") and path.is_file()
            code = path.suffix == ".py" and FRONT not in path.parents
            if code or weights or (path.suffix == ".yaml" and inside_recipes):
                files[path.relative_to(ROOT).as_posix()] = path
    return files


def requirements() -> list[Requirement]:
    """Every requirement of the project and its extras, except extras that name one another."""
    extras = PROJECT["optional-dependencies"].values()
    texts = PROJECT["dependencies"] + [text for extra in extras for text in extra]
    return [one for one in map(Requirement, texts) if one.name != "intaglio"]


def test_the_wheel_has_every_folder_under_its_name() -> None:
    assert WHEEL["sources"] == {folder.name: f"intaglio/{folder.name}" for folder in FOLDERS}


def test_every_folder_with_modules_is_a_package() -> None:
    bare = {path.parent for path in shipped().values() if path.suffix == ".py"}
    assert not [folder for folder in bare if not (folder / "__init__.py").exists()]


def test_the_folders_hold_nothing_else() -> None:
    """All that lies in them is put into the wheel."""
    wanted = set(shipped().values())
    strays = [
        path
        for folder in FOLDERS
        for path in folder.rglob("*")
        if path.is_file() and path not in wanted and path.parent.name != "__pycache__"
    ]
    assert not strays


def test_the_folder_on_the_path_of_an_editable_install_holds_the_package_alone() -> None:
    (place,) = WHEEL["dev-mode-dirs"]
    assert [path.name for path in (ROOT / place).iterdir()] == ["intaglio"]
    files = {path.name for path in FRONT.iterdir() if path.is_file()}
    assert files == {"__init__.py", "py.typed"}
    assert not (ROOT / "__init__.py").exists()


def test_the_installed_files_are_those_of_the_checkout() -> None:
    wrong = []
    for name, path in shipped().items():
        top = name.partition("/")[0] if "/" in name else "__init__.py"
        package = importlib.import_module("intaglio" if "/" not in name else f"intaglio.{top}")
        assert package.__file__ is not None
        installed = Path(package.__file__).parent / name.removeprefix(f"{top}/")
        if not installed.is_file() or installed.read_bytes() != path.read_bytes():
            wrong.append(str(installed))
    assert not wrong


def test_the_install_is_the_one_it_says_it_is() -> None:
    origin = importlib.metadata.distribution("intaglio").read_text("direct_url.json")
    assert origin is not None
    editable = json.loads(origin).get("dir_info", {}).get("editable", False)
    codecs = importlib.import_module("intaglio.codecs").__file__
    assert codecs is not None
    assert Path(codecs).is_relative_to(ROOT / "codecs" if editable else sys.prefix)


def test_every_package_imports() -> None:
    for name in shipped():
        if name.endswith("/__init__.py"):
            importlib.import_module(".".join(["intaglio", *Path(name).parent.parts]))


def test_the_version_is_that_of_the_metadata() -> None:
    assert importlib.metadata.version("intaglio") == PROJECT["version"]


def test_the_installed_package_has_the_version() -> None:
    import intaglio

    assert intaglio.__version__ == PROJECT["version"]


def test_the_version_is_the_same_everywhere() -> None:
    assert f"version: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_console_script_exists() -> None:
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="intaglio")
    assert callable(script.load())


def test_the_constraints_satisfy_the_ranges() -> None:
    pins = [Requirement(line) for line in lines("constraints.txt")]
    assert all(str(pin.specifier).startswith("==") and not pin.url for pin in pins)
    versions = {canonicalize_name(pin.name): str(pin.specifier)[2:] for pin in pins}
    assert len(versions) == len(pins), "a name is pinned twice"
    wrong = [
        f"{one} is pinned to {versions.get(canonicalize_name(one.name))}"
        for one in requirements()
        if not one.specifier.contains(versions.get(canonicalize_name(one.name), "0"))
    ]
    assert not wrong


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("torch", ["2.10", "2.15", "3", "newest"])
def test_make_names_the_torch_that_is_allowed(torch: str) -> None:
    words = ["make", "test", f"TORCH={torch}", f"PYTHON={sys.executable}"]
    clean = {name: os.environ[name] for name in os.environ if not name.startswith("MAKE")}
    run = subprocess.run(words, cwd=ROOT, env=clean, capture_output=True, text=True)
    (allowed,) = [text for text in PROJECT["dependencies"] if text.startswith("torch>")]
    assert run.returncode == 2
    assert run.stdout.strip() == f"TORCH={torch}: pyproject.toml allows {allowed}"
    assert not (ROOT / f".venv-torch-{torch}").exists()


def test_the_constraints_pin_the_build_backend() -> None:
    (backend,) = [Requirement(text) for text in PYPROJECT["build-system"]["requires"]]
    (pin,) = [
        Requirement(line) for line in lines("constraints.txt") if line.startswith(backend.name)
    ]
    assert backend.specifier == pin.specifier


def locked(name: str) -> dict[str, tuple[str, list[str]]]:
    """Version and hashes of each distribution of a lock file, by its name."""
    found: dict[str, tuple[str, list[str]]] = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / name).read_text().strip()):
        requirement, *hashes = entry.replace(" \\\n", "\n").split("\n")
        one = Requirement(requirement)
        found[canonicalize_name(one.name)] = (str(one.specifier), [line.strip() for line in hashes])
    return found


def test_what_make_installs_is_locked_by_hashes_to_the_constraints() -> None:
    pins = [Requirement(line) for line in lines("constraints.txt")]
    constraints = {canonicalize_name(pin.name): str(pin.specifier) for pin in pins}
    make = locked("requirements.lock")
    assert not make.keys() & locked("pesq.lock").keys()
    for name, (version, hashes) in (make | locked("pesq.lock")).items():
        assert version == constraints.get(name, version) and version.startswith("==")
        assert all(re.fullmatch("--hash=sha256:[0-9a-f]{64}", one) for one in hashes) and hashes
    extras = PROJECT["optional-dependencies"]
    wanted = [extras[extra] for extra in ("dev", "demo", "export", "metrics", "media", "entropy")]
    names = {Requirement(text).name for text in [*PROJECT["dependencies"], *sum(wanted, [])]}
    assert {canonicalize_name(name) for name in names - {"intaglio"}} <= make.keys()
    assert len(make["numpy"][1]) > 30  # of every platform and Python, not of one


def test_every_dependency_is_used() -> None:
    modules = importlib.metadata.packages_distributions()
    tools = {Requirement(text).name for text in PROJECT["optional-dependencies"]["dev"]}
    files = [path for path in shipped().values() if path.suffix in {".py", ".yaml"}]
    text = "\n".join(path.read_text() for path in files)
    imported = {name for path in files if path.suffix == ".py" for name in imports(path)}
    used = {
        canonicalize_name(distribution)
        for module in imported
        for distribution in modules.get(module, [module])
    }
    unused = [
        one.name
        for one in requirements()
        if one.name not in tools
        and canonicalize_name(one.name) not in used
        and INDIRECT.get(one.name, "\0") not in text
    ]
    assert not unused


def test_every_import_is_declared() -> None:
    modules = importlib.metadata.packages_distributions()
    declared = {canonicalize_name(one.name) for one in requirements()} | WITH_TORCH
    undeclared = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in shipped().values()
        if path.suffix == ".py"
        for name in imports(path)
        if name not in sys.stdlib_module_names
        and not declared & {canonicalize_name(each) for each in modules.get(name, [name])}
    }
    assert not undeclared


def test_the_metadata_carries_licence_and_readme() -> None:
    metadata = importlib.metadata.metadata("intaglio")
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert metadata["Description-Content-Type"] == "text/markdown"


def lines(name: str) -> list[str]:
    """The lines of a text file of the root that are neither blank nor comments."""
    text = (ROOT / name).read_text()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def imports(path: Path) -> Iterator[str]:
    """Top-level names of the foreign packages that a module imports anywhere."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        else:
            continue
        yield from (top for name in names if (top := name.partition(".")[0]) != "intaglio")
