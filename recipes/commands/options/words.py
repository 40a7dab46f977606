"""The words of a command line: what is wrong with them is one line, and the exit status is 2."""

import argparse
import math
from collections.abc import Callable
from typing import Any, NoReturn

from intaglio.recipes.errors import say

LARGEST = 10**18


class Parser(argparse.ArgumentParser):
    """Parser that refuses empty words, unless an argument has a type of its own.

    An empty path would be the current folder, which nobody means who gives an unset variable.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register("type", None, given)

    def add_subparsers(self, **options: Any) -> Any:
        """As usual; a parser of these checks its words itself, and names the right argument."""
        action = super().add_subparsers(**options)
        action.type = str
        return action

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, in one line, and exit with status 2."""
        say(f"error: {message}; see `{self.prog} --help`")
        self.exit(2)


def given(text: str) -> str:
    """The text, for argparse, unless it is empty."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; is a variable of the shell not set?")
    return text


def names(text: str) -> list[str]:
    """The names of a list that is separated by commas, for argparse, unless there is none."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        given("")
    return found


def whole(least: int) -> Callable[[str], int]:
    """What reads whole numbers from the least one on, for argparse."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= LARGEST:
            which = f"a whole number from {least:g} to {LARGEST:g}"
            raise argparse.ArgumentTypeError(f"it is {which}, not {text!r}")
        return number

    return read


def real(
    accepts: Callable[[float], bool] = math.isfinite, which: str = "a number"
) -> Callable[[str], float]:
    """What reads those finite numbers that are accepted, for argparse; ``which`` says so."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or not accepts(number):
            raise argparse.ArgumentTypeError(f"it is {which}, not {text!r}")
        return number

    return read


SEED = whole(-LARGEST)
POSITIVE = real(lambda number: number > 0, "a number above 0")
SHARE = real(lambda number: 0 <= number <= 1, "a share in [0, 1]")
