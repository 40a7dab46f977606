"""Kills a process at each step of `replacing_set`, in turn; run by `test_atomic.py`, alone, since
it forks. Prints a line for each kill: the folder as it lies there, after `settle`, and after the
next write."""

import itertools
import json
import os
import sys
from pathlib import Path

from intaglio.data.formats import atomic
from intaglio.data.formats.atomic import replacing_set, settle

STEPS = ("rename", "replace", "link", "mkdir", "unlink", "rmdir", "fsync", "open", "chmod")
OLD = {"a": "old a", "b": "old b", "gone": "old", "user": "mine"}


def write(folder: Path, content: str) -> None:
    with replacing_set(folder, drop=("gone",)) as new:
        for name in ("a", "b", "c"):
            (new / name).write_text(f"{content} {name}")


def state(folder: Path) -> dict[str, str]:
    paths = folder.iterdir() if folder.exists() else []
    return {path.name: path.read_text() for path in paths if path.is_file()}


def kill_at(number: int) -> None:
    """Have this process die at the ``number``-th step, before it for even numbers, else after."""
    counter = itertools.count()

    def deadly(function):
        def step(*args, **kwargs):
            dies = next(counter) == number // 2
            try:
                return function(*args, **kwargs) if number % 2 or not dies else None
            finally:
                if dies:
                    os._exit(9)

        return step

    for name in STEPS:
        setattr(os, name, deadly(getattr(os, name)))
    atomic.exchange = deadly(atomic.exchange)


def fast(descriptor: int) -> None:
    """Stands for `os.fsync`, which takes long on a busy disk."""


def survived(folder: Path, number: int) -> bool:
    child = os.fork()
    if child == 0:
        kill_at(number)
        write(folder, "new")
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def main(root: Path, way: str) -> None:
    for number in itertools.count():
        folder = root / str(number) / "set"
        folder.parent.mkdir(parents=True)
        if way != "absent":
            folder.mkdir()
            for name, text in OLD.items():
                (folder / name).write_text(text)
        if way == "linked":
            elsewhere = folder.with_name("elsewhere")
            elsewhere.mkdir()
            os.rename(folder / "b", elsewhere / "b")
            (folder / "b").symlink_to("../elsewhere/b")
        os.chdir(folder if way == "inside" else root)
        done = survived(folder, number)
        found = {"killed": state(folder)}
        settle(folder)
        found["settled"] = state(folder)
        write(folder, "next")
        left = [str(path.relative_to(folder.parent)) for path in folder.parent.rglob("*")]
        print(json.dumps(found | {"next": state(folder), "left": sorted(left)}))
        if done:
            return


os.fsync = fast
main(Path(sys.argv[1]), sys.argv[2])
