"""Names of a folder, such as ``intaglio.codecs.quantizers.FSQ``, imported when first asked for.

A folder of parts cannot import its modules outright: `image_codec` imports ``decoders.base``, hence
the folder ``decoders``, and ``decoders.proxy`` imports `image_codec`. So each folder lists its
names under ``if TYPE_CHECKING:``, one a line; type checkers read them there, and `lazy_names` too.
"""

import ast
import importlib
import inspect
import sys
from collections.abc import Callable
from typing import Any


def lazy_names(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """The functions ``__getattr__`` and ``__dir__`` and the list ``__all__`` of a package.

    Args:
        package: its ``__name__``. Its source has one block ``if TYPE_CHECKING:``, of lines such as
            ``from .fsq import FSQ as FSQ``.
    """
    module = sys.modules[package]
    body = ast.parse(inspect.getsource(module)).body
    (block,) = (node for node in body if isinstance(node, ast.If))
    homes = {
        name.name: f".{line.module}"
        for line in block.body
        if isinstance(line, ast.ImportFrom)
        for name in line.names
    }

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(homes[name], package), name)
        setattr(module, name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(module), *homes})

    return get, names, list(homes)
