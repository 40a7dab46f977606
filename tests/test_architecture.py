"""The rules of CONTRIBUTING that the source itself shows: imports, names, docstrings, safety."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODALITIES = ("audio", "image", "shape")

# Sub-package: the others that it may import.
MAY_IMPORT = {
    "codecs": set(),
    "data": set(),
    "generators": {"codecs"},
    "export": {"codecs", "generators"},
    "recipes": {"codecs", "data", "generators", "export"},
}
# They need the standard library alone, and every sub-package may import them.
FOR_ALL = {f"data.formats.{name}" for name in ("atomic", "exchange", "locks", "named")}

# Inside a sub-package a module imports its own group and the floors below it. Its group is the
# longest name of this table that its own begins with; names on one line are one group.
FLOORS = {
    "codecs": {
        "trust shipped folding budget": -2,
        "weights": -1,
        # the contracts, and every base.py of the parts
        "__init__ lazy part inputs tokens bundle streaming codec audio_codec image_codec load": 0,
        "layers": 1,
        **dict.fromkeys(("quantizers", "encoders", "decoders", "discriminators", "losses"), 2),
        **dict.fromkeys(MODALITIES, 3),
        "training": 4,
        "task": 5,
    },
    "data": {
        "__init__": 0,
        "formats": 0,
        "transforms": 1,
        "manifest": 1,
        "image_transforms": 1,
        "sampler": 2,
        "synthetic": 1,
        "sets": 2,
        "listing": 3,
        "clips": 4,
        "pictures": 4,
        "modules": 4,
        "audio": 5,
        "image": 5,
        "tokens": 6,
        "utterances": 6,
        "synthetic.modules": 6,
    },
    "generators": {
        "inference": 1,
        "provenance": 1,
        "mae_encoder": 1,
        "embeddings": 2,
        "conditioning": 2,
        "backbone": 3,
        "heads": 3,
        "orders": 4,
        "generator": 5,
        "load": 6,
        "detokenize": 6,
        "samplers": 6,
        **dict.fromkeys(MODALITIES, 7),
        "task": 8,
        "__init__": 9,
    },
    "recipes": {
        "__init__": 0,
        "errors": -1,
        "file_jobs": 0,
        "commands.options": 1,
        "tokenization": 2,
        "evaluation": 3,  # scores, rows, tables, usage
        "evaluation.audio": 4,
        "evaluation.image": 4,
        "evaluation.generators": 5,
        "evaluation.probing": 6,
        "evaluation.figures": 6,
        "evaluation.report": 7,
        "benchmarks": 7,
        "sampling": 7,
        "modalities": 8,
        "callbacks": 9,
        "samples": 10,
        "commands": 10,
        "lightning_cli training": 10,
        "cli": 11,
        "package": 11,
        "__main__": 12,
    },
}
LOOSE_FILES = {"__init__", "__main__", "cli", "lightning_cli", "errors", "file_jobs"}  # in recipes

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60
MAX_RECIPE_LINES = 40
VAGUE_NAMES = {"utils", "common", "misc", "helpers"}
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Module(NamedTuple):
    """A source file of the package, parsed.

    Attributes:
        name: dotted name without the leading ``intaglio.``.
        folder: dotted name, without the leading ``intaglio.``, of the folder it lies in.
    """

    name: str
    folder: str
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]

    @property
    def is_public(self) -> bool:
        return not any(part.startswith("_") for part in self.name.split("."))


def parse(name: str, text: str) -> Module:
    folder = name.rpartition(".")[0]
    return Module(name.removesuffix(".__init__"), folder, text, ast.parse(text, filename=name))


def load_modules() -> list[Module]:
    paths = [path for folder in MAY_IMPORT for path in sorted((ROOT / folder).rglob("*.py"))]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return [parse(name, path.read_text()) for name, path in zip(names, paths, strict=True)]


MODULES = load_modules()
NAMES = {module.name for module in MODULES}


def imported(module: Module) -> Iterator[str]:
    """Dotted names of what a module imports anywhere, in functions and by import_module too."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = f"intaglio.{module.folder}".split(".")
                parents = parents[: len(parents) + 1 - node.level]
                base = ".".join([*parents, base]).rstrip(".")
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and called(node) in ("import_module", "__import__"):
            for arg in node.args:
                if isinstance(arg, ast.JoinedStr):  # f"intaglio.folder.{name}": any of the folder
                    arg = arg.values[0]
                if isinstance(arg, ast.Constant) and isinstance(arg.value, str):
                    yield arg.value


def ours(module: Module, names: Collection[str] = NAMES) -> Iterator[str]:
    """Names, without ``intaglio.``, of the package's own modules that a module imports."""
    for name in imported(module):
        if not name.startswith("intaglio."):
            continue
        inside = name.removeprefix("intaglio.")
        if inside.endswith("."):
            depth = inside.count(".")
            yield from (one for one in names if one.startswith(inside) and one.count(".") == depth)
        else:
            yield inside if inside in names else inside.rpartition(".")[0] or inside


def called(node: ast.Call) -> str:
    """Last word of what is called: ``load`` for ``torch.load(…)``."""
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def calls(module: Module, *names: str) -> Iterator[tuple[ast.Call, str]]:
    """Calls of any of ``names``, written as in the source (``torch.load``, ``eval``)."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and (text := ast.unparse(node.func)) in names:
            yield node, text


def keyword(node: ast.Call, name: str) -> str | None:
    """Source of a keyword argument of a call."""
    return next((ast.unparse(one.value) for one in node.keywords if one.arg == name), None)


def definitions(module: Module, public: bool) -> Iterator[tuple[str, Definition]]:
    """Functions, classes and methods of a module; public ones only, or nested ones too."""

    def walk(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, Definition]]:
        for node in body:
            if not isinstance(node, Definition) or (public and node.name.startswith("_")):
                continue
            yield f"{prefix}{node.name}", node
            if isinstance(node, ast.ClassDef) or not public:
                yield from walk(node.body, f"{prefix}{node.name}.")

    yield from walk(module.tree.body, f"{module.name}.")


def imports_of_other_packages(module: Module) -> Iterator[str]:
    for name in ours(module):
        package = name.partition(".")[0]
        allowed = {module.package, *MAY_IMPORT[module.package]}
        if package not in allowed and name not in FOR_ALL:
            yield f"imports intaglio.{name}"
    if module.name in FOR_ALL:
        for name in imported(module):
            home = name.removeprefix("intaglio.").rpartition(".")[0]
            if name.partition(".")[0] not in sys.stdlib_module_names and home not in FOR_ALL:
                yield f"imports {name}"


def imports_from_higher_floors(module: Module) -> Iterator[str]:
    if module.package not in FLOORS:
        return
    own_group, own_floor = floor(module.name)
    if own_floor is None:
        yield "stands on no floor: add it to FLOORS"
        return
    for name in dict.fromkeys(ours(module)):
        group, level = floor(name)
        if name.partition(".")[0] != module.package or level is None or group == own_group:
            continue
        if level >= own_floor:
            yield f"imports intaglio.{name} of the same or a higher floor"


def floor(name: str) -> tuple[str, int | None]:
    """Group of a module inside its sub-package and its floor, None if it has none."""
    package, *parts = name.split(".")
    parts = parts or ["__init__"]
    if package == "codecs" and parts[-1] == "base" and FLOORS[package].get(parts[0], 4) < 4:
        parts = ["codec"]  # the base of a kind of parts is a contract
    for depth in range(len(parts), 0, -1):
        start = ".".join(parts[:depth])
        for group, level in FLOORS.get(package, {}).items():
            if start in group.split():
                return group, level
    return "", None


def imports_of_other_commands(module: Module) -> Iterator[str]:
    """A command calls functions, never another command; ``eval`` may dispatch to ``eval_audio``."""
    if not module.name.startswith("recipes.commands."):
        return
    own = f"intaglio.{module.name}"
    for name in imported(module):
        command, _, attribute = name.rpartition(".")
        if name.removeprefix("intaglio.") in NAMES:
            command, attribute = name, "run"
        of_commands = command.rpartition(".")[0] == "intaglio.recipes.commands"
        other = command != own and not command.startswith(f"{own}_")
        if of_commands and other and attribute in ("run", "add_arguments"):
            yield f"imports {command}"


def loose_files(module: Module) -> Iterator[str]:
    package, *inner = module.name.split(".")
    folder = any(name.startswith(f"{module.name}.") for name in NAMES)
    if package == "recipes" and len(inner) == 1 and not folder and inner[0] not in LOOSE_FILES:
        yield "stands loose in recipes: give it a folder"


def missing_docstrings(module: Module) -> Iterator[str]:
    if not module.is_public:
        return
    if not ast.get_docstring(module.tree):
        yield "has no docstring"
    for name, node in definitions(module, public=True):
        decorators = [ast.unparse(one) for one in node.decorator_list]
        if any(one == "overload" or one.endswith((".setter", ".deleter")) for one in decorators):
            continue
        if not ast.get_docstring(node):
            yield f"{name} has no docstring"


def long_files(module: Module) -> Iterator[str]:
    if (lines := module.text.count("\n")) > MAX_FILE_LINES:
        yield f"has {lines} lines"


def long_functions(module: Module) -> Iterator[str]:
    for name, node in definitions(module, public=False):
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if not isinstance(node, ast.ClassDef) and lines > MAX_FUNCTION_LINES:
            yield f"{name} has {lines} lines"


def unsafe_loads(module: Module) -> Iterator[str]:
    for node, text in calls(module, "torch.load", "load_from_checkpoint"):
        if keyword(node, "weights_only") != "True":
            yield f"line {node.lineno}: {text} without weights_only=True"
    for name in imported(module):
        if name in ("torch.load", "torch.serialization.load"):
            yield f"imports {name}: write torch.load"
        if name.partition(".")[0] in PICKLES:
            yield f"imports {name}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and keyword(node, "allow_pickle") not in (None, "False"):
            yield f"line {node.lineno}: allow_pickle"


def run_text(module: Module) -> Iterator[str]:
    names = ("eval", "exec", "compile", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load")
    for node, text in calls(module, *names):
        yield f"line {node.lineno}: {text}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and keyword(node, "shell") not in (None, "False"):
            yield f"line {node.lineno}: shell"


def unfiltered_archives(module: Module) -> Iterator[str]:
    if not any(name.partition(".")[0] in ("tarfile", "shutil") for name in imported(module)):
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and called(node) in (
            "extract",
            "extractall",
            "unpack_archive",
        ):
            if keyword(node, "filter") not in ("'data'", "tarfile.data_filter"):
                yield f"line {node.lineno}: {ast.unparse(node.func)} without filter='data'"


def prints(module: Module) -> Iterator[str]:
    if module.package != "recipes":
        yield from (f"line {node.lineno}: print" for node, _ in calls(module, "print"))


def torch_dot_tensor(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.Tensor":
            yield f"line {node.lineno}: torch.Tensor; write Tensor"


def extras_imported_early(module: Module) -> Iterator[str]:
    extras = PROJECT["optional-dependencies"]
    optional = {
        Requirement(text).name.replace("-", "_") for extra in extras.values() for text in extra
    } - {"intaglio"}
    for node in top_level(module.tree):
        early = parse(module.name, ast.unparse(node))
        for name in {name.partition(".")[0] for name in imported(early)} & optional:
            yield f"line {node.lineno}: {name} is of an extra; import it where it is used"


def top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Import statements that run when the module is imported."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield node
            elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                waiting.append(node)


class Rule(NamedTuple):
    """A rule of the house, and a module that breaks it."""

    violations: Callable[[Module], Iterator[str]]
    offender: Module


LONG_FUNCTION = "def f():\n" + "    x = 1\n" * MAX_FUNCTION_LINES
RULES = [
    Rule(imports_of_other_packages, parse("codecs.x", "def f():\n    from intaglio import data")),
    Rule(imports_of_other_packages, parse("data.x", "from intaglio.codecs import load")),
    Rule(imports_of_other_packages, parse("codecs.x", "import intaglio.data.formats.wave")),
    Rule(imports_of_other_packages, parse("data.formats.atomic", "import numpy")),
    Rule(imports_of_other_packages, parse("data.formats.atomic", "import intaglio.data.tokens")),
    Rule(imports_of_other_packages, parse("data.x", "from ..codecs import load")),
    Rule(imports_of_other_packages, parse("data.sets.__init__", "from ...codecs import load")),
    Rule(imports_of_other_packages, parse("data.x", "import_module('intaglio.recipes.cli')")),
    Rule(imports_of_other_packages, parse("generators.x", "import intaglio.export")),
    Rule(imports_of_other_packages, parse("export.x", "from intaglio import recipes")),
    Rule(imports_from_higher_floors, parse("codecs.part", "import intaglio.codecs.layers.x")),
    Rule(
        imports_from_higher_floors,
        parse("codecs.losses.base", "from intaglio.codecs.task import x"),
    ),
    Rule(
        imports_from_higher_floors, parse("codecs.layers.x", "from intaglio.codecs import encoders")
    ),
    Rule(
        imports_from_higher_floors, parse("codecs.encoders.x", "import intaglio.codecs.decoders.x")
    ),
    Rule(
        imports_from_higher_floors, parse("codecs.audio.x", "from intaglio.codecs.image import x")
    ),
    Rule(imports_from_higher_floors, parse("codecs.audio.x", "from intaglio.codecs import task")),
    Rule(imports_from_higher_floors, parse("codecs.novelty", "")),
    *(
        Rule(imports_from_higher_floors, parse(low, f"def f():\n    import intaglio.{high}"))
        for low, high in (
            ("data.formats.x", "data.manifest"),
            ("data.sets.x", "data.listing"),
            ("data.modules", "data.audio"),
            ("data.synthetic.audio", "data.modules"),
            ("generators.inference.x", "generators.conditioning.base"),
            ("generators.conditioning.x", "generators.orders.base"),
            ("generators.heads.x", "generators.orders.base"),
            ("generators.orders.x", "generators.generator"),
            ("generators.generator", "generators.samplers.sampler"),
            ("generators.samplers.x", "generators.image.var"),
            ("generators.image.x", "generators.task"),
            ("recipes.evaluation.scores", "recipes.evaluation.audio.metrics"),
            ("recipes.evaluation.audio.x", "recipes.evaluation.figures.canvas"),
            ("recipes.tokenization.x", "recipes.modalities.audio"),
            ("recipes.modalities.x", "recipes.commands.encode"),
            ("recipes.callbacks.x", "recipes.commands.encode"),
            ("recipes.benchmarks.x", "recipes.cli"),
            ("recipes.commands.x", "recipes.cli"),
        )
    ),
    Rule(imports_of_other_commands, parse("recipes.commands.demo", "from . import encode")),
    Rule(
        imports_of_other_commands,
        parse("recipes.commands.demo", "from intaglio.recipes.commands.encode import run"),
    ),
    Rule(loose_files, parse("recipes.novelty", "")),
    Rule(missing_docstrings, parse("codecs.x", "x = 1")),
    Rule(missing_docstrings, parse("codecs.x", "'''Doc.'''\ndef f(): ...")),
    Rule(
        missing_docstrings,
        parse("codecs.x", "'''Doc.'''\nclass A:\n  '''D.'''\n  def f(self): ..."),
    ),
    Rule(long_files, parse("codecs.x", "x = 1\n" * (MAX_FILE_LINES + 1))),
    Rule(long_functions, parse("codecs.x", LONG_FUNCTION)),
    Rule(long_functions, parse("codecs.x", "class A:\n" + re.sub("(?m)^", "  ", LONG_FUNCTION))),
    Rule(unsafe_loads, parse("codecs.x", "torch.load(path)")),
    Rule(unsafe_loads, parse("codecs.x", "torch.load(path, weights_only=False)")),
    Rule(unsafe_loads, parse("codecs.x", "from torch import load")),
    Rule(unsafe_loads, parse("codecs.x", "def f():\n    import pickle")),
    Rule(unsafe_loads, parse("codecs.x", "np.load(path, allow_pickle=True)")),
    Rule(run_text, parse("codecs.x", "eval('1')")),
    Rule(run_text, parse("codecs.x", "subprocess.run(x, shell=True)")),
    Rule(unfiltered_archives, parse("codecs.x", "import tarfile\ntar.extractall(path)")),
    Rule(prints, parse("codecs.x", "print(1)")),
    Rule(torch_dot_tensor, parse("codecs.x", "def f(x: torch.Tensor): ...")),
    Rule(extras_imported_early, parse("codecs.x", "if True:\n    import onnxruntime as ort")),
]


@pytest.mark.parametrize("rule", dict.fromkeys(rule.violations for rule in RULES))
def test_the_package_keeps(rule: Callable[[Module], Iterator[str]]) -> None:
    found = [f"intaglio.{module.name} {what}" for module in MODULES for what in rule(module)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.violations.__name__)
def test_the_rule_finds_its_offender(rule: Rule) -> None:
    assert list(rule.violations(rule.offender))


def circles(modules: Sequence[Module]) -> list[str]:
    """Chains of imports that end where they begin, the shortest through each module."""
    names = {module.name for module in modules}
    graph = {module.name: {*ours(module, names)} & names - {module.name} for module in modules}
    chains = {}
    for start in graph:
        chain = shortest_way_back(graph, start)
        if chain:
            chains.setdefault(frozenset(chain), " -> ".join(chain))
    return list(chains.values())


def shortest_way_back(graph: dict[str, set[str]], start: str) -> list[str]:
    """Modules from ``start`` to itself, each imported by the one before; empty if there is none."""
    before: dict[str, str] = {}
    waiting = [start]
    for module in waiting:
        for name in sorted(graph[module]):
            if name == start:
                chain = [start, module]
                while chain[-1] != start:
                    chain.append(before[chain[-1]])
                return chain[::-1]
            if name not in before:
                before[name] = module
                waiting.append(name)
    return []


def test_no_import_leads_back_to_its_module() -> None:
    found = circles(MODULES)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "import intaglio.codecs.x",
        "from . import x",
        "def f():\n    from intaglio.codecs import x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from intaglio.codecs.x import X",
        "import_module('intaglio.codecs.x')",
        "importlib.import_module(f'intaglio.codecs.{name}')",
    ],
)
def test_a_circle_of_imports_is_found(text: str) -> None:
    modules = [
        parse("data.a", "import intaglio.codecs.y"),
        parse("codecs.x", "from intaglio.codecs import y"),
        parse("codecs.y", text),
    ]
    found = circles(modules)
    assert "codecs.x -> codecs.y -> codecs.x" in found
    assert not any("data.a" in chain for chain in found)


def shared_class_names(modules: Sequence[Module]) -> list[str]:
    """Public names that two modules give to classes of their own."""
    modules_of: dict[str, list[str]] = {}
    for module in modules:
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules_of.setdefault(node.name, []).append(module.name)
    return [f"{name}: {', '.join(found)}" for name, found in modules_of.items() if len(found) > 1]


def test_a_public_class_name_means_one_thing() -> None:
    found = shared_class_names(MODULES)
    assert not found, "\n" + "\n".join(found)


def test_a_class_name_of_two_modules_is_found() -> None:
    modules = [parse(name, "class Part: ...\nclass _Own: ...") for name in ("codecs.a", "data.b")]
    assert shared_class_names(modules) == ["Part: codecs.a, data.b"]


def written(*folders: str) -> Iterator[Path]:
    """Text that people wrote: files of the given folders and of the root."""
    for path in [*ROOT.iterdir(), *(path for one in folders for path in (ROOT / one).rglob("*"))]:
        is_text = path.is_file() and path.name != ".git"  # a file in a second work tree
        if is_text and path.suffix in {"", ".py", ".yaml", ".md", ".toml", ".txt", ".cff"}:
            yield path


def test_no_file_has_a_vague_name() -> None:
    paths = [path for path in written(*MAY_IMPORT, "tests") if path.suffix == ".py"]
    assert [path for path in paths if path.stem.removeprefix("test_") in VAGUE_NAMES] == []


def test_no_file_names_a_folder_of_one_machine() -> None:
    folder = re.compile(r"(?<![\w.])/(work|home|root|Users|opt|mnt|tmp)/|[A-Z]:\\\\")
    assert folder.search(" /home/me/speech") and not folder.search("https://example.org/home/")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in written(*MAY_IMPORT, "tests", "docs", ".ci")
        if path.name != Path(__file__).name
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if folder.search(line)
    ]
    assert not found, "\n" + "\n".join(found)


def stems(folder: str, pattern: str) -> set[str]:
    """``modality/stem`` of the public files that match in each modality's folder."""
    return {
        f"{modality}/{path.stem.removeprefix('test_')}"
        for modality in MODALITIES
        for path in (ROOT / folder / modality).glob(pattern)
        if not path.stem.startswith("_")
    }


def test_a_system_is_one_builder_one_recipe_and_one_test() -> None:
    systems = {folder: stems(folder, "*.py") for folder in ("codecs", "generators")}
    assert not systems["codecs"] & systems["generators"], "one name, one system"
    assert stems("recipes", "*.yaml") == systems["codecs"] | systems["generators"]
    for folder, names in systems.items():
        assert stems(f"tests/{folder}", "test_*.py") == names


def test_a_system_file_is_a_builder_of_its_own_name() -> None:
    for module in MODULES:
        folder, *inner = module.name.split(".")
        if folder in ("codecs", "generators") and len(inner) == 2 and inner[0] in MODALITIES:
            public = [name for name, _ in definitions(module, public=True)]
            assert f"{module.name}.{inner[1]}" in public, (
                f"{module.name} builds nothing of its name"
            )
            classes = [node for node in module.tree.body if isinstance(node, ast.ClassDef)]
            assert not classes, f"{module.name} has a class: a part is missing"


def test_a_recipe_is_short_and_says_what_it_is() -> None:
    for stem in stems("recipes", "*.yaml"):
        lines = (ROOT / "recipes" / f"{stem}.yaml").read_text().splitlines()
        assert len(lines) <= MAX_RECIPE_LINES, f"{stem} has {len(lines)} lines"
        header = "\n".join(line for line in lines if line.startswith("#"))
        assert lines[0].startswith("# ") and f"intaglio fit -c {stem}" in header, stem


def test_nothing_needs_torchaudio() -> None:
    """Its builds are for one torch and one CUDA; with any other, importing it raises."""
    for module in MODULES:
        assert "torchaudio" not in {name.partition(".")[0] for name in imported(module)}, module


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("intaglio", "torch numpy lightning torchaudio wandb matplotlib tensorboard"),
        ("intaglio.codecs", "lightning torchaudio wandb matplotlib tensorboard"),
        ("intaglio.recipes.cli", "torch lightning torchaudio wandb matplotlib tensorboard"),
    ],
)
def test_importing_loads_nothing_heavy(module: str, heavy: str) -> None:
    code = f"import sys, {module}; print(*(set({heavy.split()}) & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
