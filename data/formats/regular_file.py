"""What every reader of media checks first: that a path names a file with something in it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def regular_file(path: Path, kind: str) -> Iterator[tuple[BinaryIO, int]]:
    """A file, opened to read, and its size in bytes. A pipe that nobody writes to is not opened.

    Args:
        path: what a user named.
        kind: what it should be, in messages: "an image".

    Raises:
        ValueError: a folder, a device, a pipe or an empty file.
        FileNotFoundError: there is no such file.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not {kind}")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if not path.is_file():
        raise ValueError(f"{path} is a device or a pipe, not a file")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise ValueError(f"{path} is an empty file")
        yield file, size
