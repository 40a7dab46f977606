"""The words of a command line: none of them is empty."""

import argparse
from typing import Any


class Parser(argparse.ArgumentParser):
    """Parser that refuses empty texts with status 2, unless an argument has a type of its own.

    An empty path would be the current folder, which nobody means who gives an unset variable.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register("type", None, _given)


def _given(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("it is empty; is a variable of the shell not set?")
    return text
