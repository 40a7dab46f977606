"""What every reader checks first: that a path names a file, and no pipe that it would wait for.

And which files a folder stands for.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

MAX_TEXT_BYTES = 1 << 30


def check_regular(path: Path, kind: str) -> None:
    """Refuse what is no file: to open a pipe that nobody writes to would take for ever.

    Args:
        path: what a user named.
        kind: what it should be, in messages: "an image".

    Raises:
        ValueError: a folder, a device, a socket or a pipe.
        FileNotFoundError: there is no such file.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not {kind}")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if not path.is_file():
        raise ValueError(f"{path} is a device or a pipe, not a file")


def read_text(path: Path, kind: str, *, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Content of a text file, without a byte order mark.

    Args:
        path: what a user named.
        kind: what it should be, in messages: "a manifest".
        max_bytes: largest file that is accepted.

    Raises:
        ValueError: no file, too large, or not UTF-8.
        FileNotFoundError: there is no such file.
    """
    check_regular(path, kind)
    size = path.stat().st_size
    if size > max_bytes:
        raise ValueError(f"{path} has {size} bytes; the limit for {kind} is {max_bytes}")
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); convert it, such as "
            "with iconv"
        ) from error


def visible_files(folder: Path) -> list[Path]:
    """Files at any depth, sorted, except hidden ones and those in hidden folders."""
    return sorted(
        path
        for path in folder.rglob("*")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )


@contextlib.contextmanager
def regular_file(path: Path, kind: str) -> Iterator[tuple[BinaryIO, int]]:
    """A file with something in it, opened to read, and its size in bytes.

    Args:
        path: what a user named.
        kind: what it should be, in messages: "an image".

    Raises:
        ValueError: as `check_regular`; or an empty file.
        FileNotFoundError: there is no such file.
    """
    check_regular(path, kind)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise ValueError(f"{path} is an empty file")
        yield file, size
