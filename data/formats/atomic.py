"""Atomic writes: to a temporary file next to the target, which it then replaces in one step."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Path of a temporary file that replaces ``path`` when the block ends without an error.

    It is flushed to the disk first, and removed if the block fails: readers see the old file or the
    complete new one, never a part. Its name is unique over all processes and machines.

    Raises:
        OSError: the folder of ``path`` cannot be written.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
