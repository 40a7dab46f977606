"""A path that somebody names, which an empty name does not do."""

from pathlib import Path


def named(path: str | Path, kind: str) -> Path:
    """The path, unless its name is empty, which would be the current folder.

    Args:
        path: what a user named.
        kind: what it should be, in messages: "folder of shards".

    Raises:
        ValueError: the name is empty.
    """
    if not str(path):
        raise ValueError(f"no {kind} is given: its name is empty")
    return Path(path)
