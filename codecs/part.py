"""Part: a module that remembers its recipe, and functions between modules and recipes.

A recipe is plain data, ``{"class_path": …, "init_args": {…}}``, nested where a part receives parts.
It is what a bundle stores, what YAML recipes spell out and what a fingerprint hashes. A recipe
names code, so only code of this package, or that the user trusts, is built from one: see `build`.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import nn

from intaglio.codecs import trust
from intaglio.codecs.budget import check_values

# Path of a class or builder today: its path when it was first released. That path is what recipes
# are written with and fingerprints hash: bundles, token files and generators survive a move.
WRITTEN_PATHS: dict[str, str] = {}


class Part(nn.Module):
    """A module that can be described as a recipe and built again from it.

    Attributes:
        loadable: whether a bundle or a checkpoint may name the class. A part that reads files or
            imports packages when it is made is not.
        init_args: arguments that it was made with.
    """

    loadable: ClassVar[bool] = True
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

    Every class path, at any depth, must be one that a file may name, as `trust.maker` judges;
    anything else is refused before anything is built.

    Raises:
        ValueError: a class path that is foreign, unknown or no part; or arguments that do not fit.
    """
    check_values(recipe)
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
        except (ValueError, OSError, ImportError):
            raise
        except Exception as error:  # of torch or Python, for arguments that no constructor expects
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise ValueError(
                f"the recipe of {value['class_path']} does not fit it: {reason}"
            ) from error
    if isinstance(value, list | tuple):
        return [_build(item) for item in value]
    return value


def _maker(path: Any) -> Callable[..., Any]:
    """Class or builder function at ``path``, which may be that of its release, or ValueError."""
    moved = {written: today for today, written in WRITTEN_PATHS.items()}
    return trust.maker(moved.get(path, path) if isinstance(path, str) else path, Part)
