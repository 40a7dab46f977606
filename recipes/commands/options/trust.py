"""Whose code a codec or generator may name besides this package's: the option ``--trust``."""

import argparse
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import PathFinder

from intaglio.codecs.trust import trusting


def add_trust_option(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="MODULE",
        help="let codecs and generators name parts of this module, whose code then runs; it is "
        "installed or lies in the current folder; may be repeated",
    )


@contextmanager
def trusted(modules: Sequence[str]) -> Iterator[None]:
    """Within the block, files may name parts of these modules.

    Raises:
        ValueError: one is no name of a module.
    """
    with trusting(modules), importable(modules):
        yield


@contextmanager
def importable(modules: Sequence[str]) -> Iterator[None]:
    """Within the block, Python looks for modules in the current folder, too, after all others, if
    one of these lies there and nothing that is installed has its name.
    """
    here = os.getcwd()
    tops = {module.partition(".")[0] for module in modules}
    if not any(_lies_in(here, top) for top in tops):
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _lies_in(folder: str, module: str) -> bool:
    found = PathFinder.find_spec(module, [folder])
    return found is not None and found.origin is not None and not importlib.util.find_spec(module)
