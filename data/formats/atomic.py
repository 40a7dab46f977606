"""Whole files or none: write beside the target, then take its place in one step."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Path of a temporary neighbour that takes the place of ``path`` when the block ends well.

    The neighbour is flushed to the disk first, and removed if the block fails: readers see the old
    file or the whole new one, never a part. Its name is that of no other process, on no machine.

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
