"""Part: a module that remembers its recipe, and functions between modules and recipes.

A recipe is plain data, ``{"class_path": …, "init_args": {…}}``, nested where a part receives parts.
It is what a bundle stores, what YAML recipes spell out and what a fingerprint hashes. A recipe
names code, so only code of this package is ever built from one: see `build`.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

from torch import nn

# Sub-packages that parts come from. Neither can be spread over several folders, so that no module
# but theirs is imported, wherever a recipe comes from and whatever lies in the working directory.
HOMES = ("intaglio.codecs.", "intaglio.generators.")

# Path of a class or builder today: its path when it was first released. That path is what recipes
# are written with and fingerprints hash: bundles, token files and generators survive a move.
WRITTEN_PATHS: dict[str, str] = {}


class Part(nn.Module):
    """A module of this package that can be described as a recipe and built again from it."""

    init_args: dict[str, Any]

    def __init__(self) -> None:
        super().__init__()
        self.init_args = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not hasattr(cls.__init__, "remembers"):
            cls.__init__ = _remembering(cls.__init__)  # type: ignore[method-assign]


def _remembering(init: Callable[..., None]) -> Callable[..., None]:
    """Constructor ``init`` with the same signature that also stores its arguments.

    A metaclass would store them in one place, but type checkers and `inspect.signature` then show
    its arguments, ``(*args, **kwargs)``, in place of those of the part.
    """

    @functools.wraps(init)
    def remember(part: Part, *args: Any, **kwargs: Any) -> None:
        init(part, *args, **kwargs)
        if type(part).__init__ is remember:  # otherwise the constructor of a sub-class called it
            bound = inspect.signature(init).bind(part, *args, **kwargs)
            bound.apply_defaults()
            part.init_args = dict(list(bound.arguments.items())[1:])

    remember.remembers = True  # type: ignore[attr-defined]
    return remember


def describe(value: Any, *, defaults: bool = True) -> Any:
    """Recipe of a part: nested plain data that `build` turns back into an equal, untrained part.

    Args:
        value: a part, or plain data that may hold parts.
        defaults: whether to spell out arguments that have their default value. Without them, an
            option that a later version adds leaves the recipes of older parts as they are.

    Raises:
        ValueError: an argument of the part is neither plain data nor a part.
    """
    if isinstance(value, Part):
        path = f"{type(value).__module__}.{type(value).__qualname__}"
        path = WRITTEN_PATHS.get(path, path)
        arguments = describe(value.init_args, defaults=defaults)
        if not defaults:
            usual = inspect.signature(type(value).__init__).parameters
            arguments = {
                name: argument
                for name, argument in arguments.items()
                if usual[name].default is inspect.Parameter.empty
                or argument != describe(usual[name].default, defaults=False)
            }
        return {"class_path": path, "init_args": arguments}
    if isinstance(value, Mapping):
        return {str(key): describe(item, defaults=defaults) for key, item in value.items()}
    if isinstance(value, list | tuple | nn.ModuleList):
        return [describe(item, defaults=defaults) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"a recipe holds plain data and parts, not {type(value).__qualname__}")


def as_written(recipe: Any) -> Any:
    """A recipe with today's class paths replaced by those that `describe` writes."""
    if isinstance(recipe, Mapping):
        found = {key: as_written(value) for key, value in recipe.items()}
        if isinstance(path := found.get("class_path"), str):
            found["class_path"] = WRITTEN_PATHS.get(path, path)
        return found
    return [as_written(item) for item in recipe] if isinstance(recipe, list | tuple) else recipe


def build(recipe: Any) -> Any:
    """Module that a recipe describes, with fresh weights.

    Every class path, at any depth, must name a class or a builder function that this package itself
    defines and that gives a `Part`; anything else is refused before anything is built.

    Raises:
        ValueError: a class path that is foreign, unknown or no part.
    """
    _check(recipe)
    return _build(recipe)


def _check(value: Any) -> None:
    if isinstance(value, Mapping):
        if "class_path" in value:
            _maker(value["class_path"])
        for item in value.values():
            _check(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item)


def _build(value: Any) -> Any:
    if isinstance(value, Mapping):
        if "class_path" not in value:
            return {key: _build(item) for key, item in value.items()}
        maker = _maker(value["class_path"])
        arguments = _build(value.get("init_args") or {})
        try:
            return maker(**arguments)
        except TypeError as error:
            raise ValueError(
                f"the recipe of {value['class_path']} does not fit it: {error}"
            ) from error
    if isinstance(value, list | tuple):
        return [_build(item) for item in value]
    return value


def _maker(path: Any) -> Any:
    """Class or builder function at ``path``, or ValueError."""
    module_name, _, name = str(path).rpartition(".")
    if module_name != "intaglio" and not f"{module_name}.".startswith(HOMES):
        raise ValueError(f"refused to build {path!r}: it is no part of intaglio")
    moved = {written: today for today, written in WRITTEN_PATHS.items()}
    module_name, _, name = moved.get(path, path).rpartition(".")
    try:
        maker = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"there is no {path} in this version of intaglio") from error
    made = maker if inspect.isclass(maker) else _return_class(maker)
    home = getattr(maker, "__module__", "")
    if not (inspect.isclass(made) and issubclass(made, Part) and home.startswith(HOMES)):
        raise ValueError(f"refused to build {path}: it is not a part of intaglio")
    return maker


def _return_class(maker: Any) -> Any:
    if not inspect.isfunction(maker):
        return None
    return cast(Any, inspect.get_annotations(maker, eval_str=True).get("return"))
