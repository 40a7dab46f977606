"""Which class paths of a file may be made: parts of this package, and what the user trusts.

A bundle or a checkpoint is data, perhaps a stranger's, and the class paths in it are names of code.
They are judged as names: nothing is imported that this package does not ship as a file of its own,
whatever lies in the working directory, unless the user has named its module.
"""

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast

HOMES = ("codecs", "generators")  # sub-packages that parts come from
WITHOUT_PARTS = ("intaglio.codecs.task", "intaglio.codecs.training", "intaglio.generators.task")
# Folders of builder functions; elsewhere functions do other things than to make a part.
SYSTEMS = ("intaglio.codecs.audio.", "intaglio.codecs.image.", "intaglio.generators.image.")

_trusted: ContextVar[tuple[str, ...]] = ContextVar("trusted", default=())


@contextmanager
def trusting(modules: Sequence[str]) -> Iterator[None]:
    """Within the block, files may also name parts of these modules and of what lies in them.

    Raises:
        ValueError: one is no name of a module.
    """
    names = [modules] if isinstance(modules, str) else modules
    for name in names:
        if not all(word.isidentifier() for word in name.split(".")):
            raise ValueError(f"only modules can be trusted, such as mylib, not {name!r}")
    token = _trusted.set((*_trusted.get(), *names))
    try:
        yield
    finally:
        _trusted.reset(token)


def trusts_others() -> bool:
    """Whether files may name parts of any other module."""
    return bool(_trusted.get())


def is_trusted(module: str) -> bool:
    """Whether the user trusts the code of a module."""
    return any(f"{module}.".startswith(f"{name}.") for name in _trusted.get())


@functools.cache
def shipped_modules() -> frozenset[str]:
    """Names of the modules that parts come from, by the files of this package."""
    root = Path(__file__).parents[1]
    files = (file for home in HOMES for file in (root / home).rglob("*.py"))
    names = (file.relative_to(root).with_suffix("").parts for file in files)
    found = {".".join(("intaglio", *name)).removesuffix(".__init__") for name in names}
    return frozenset(name for name in found if not f"{name}.".startswith(WITHOUT_PARTS))


def maker(path: Any, kind: type) -> Callable[..., Any]:
    """The class, or builder function, that a file may have made: the one judge of class paths.

    Of this package it is a sub-class of ``kind`` that is `loadable`, or a function in one of the
    folders of systems that gives such a class. Of a trusted module it is either.

    Args:
        path: what the file says.
        kind: the base class of all parts.

    Raises:
        ValueError: it is something else. Nothing foreign has been imported.
    """
    module, _, name = str(path).rpartition(".")
    if module not in shipped_modules() and not is_trusted(module):
        raise ValueError(_refusal(path))
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        where = "in this version of intaglio" if module in shipped_modules() else f"here: {error}"
        raise ValueError(f"there is no {path} {where}") from error
    home = str(getattr(found, "__module__", ""))
    made = found
    if inspect.isfunction(found) and (home.startswith(SYSTEMS) or is_trusted(home)):
        made = cast(Any, inspect.get_annotations(found, eval_str=True).get("return"))
    genuine = home in shipped_modules() and _named(home, found.__qualname__) is found
    if not (genuine or is_trusted(home)) or not inspect.isclass(made):
        raise ValueError(f"refused to build {path}: it is not a part of intaglio")
    if not (issubclass(made, kind) and made.loadable):  # type: ignore[attr-defined]
        raise ValueError(f"refused to build {path}: it is not a part that a file may name")
    return cast(Callable[..., Any], found)


def _named(module: str, name: str) -> Any:
    return getattr(sys.modules.get(module), name, None)


def _refusal(path: Any) -> str:
    shown = repr(path)[:100]
    library = str(path).partition(".")[0]
    known = {"intaglio", *sys.stdlib_module_names}
    if not library.isidentifier() or library in known or library == str(path):
        return f"refused to build {shown}: it is no part of intaglio"
    return (
        f"refused to build {shown}: it is no part of intaglio; pass --trust {library} (in Python, "
        f"trust=[{library!r}]) if you trust its code"
    )
