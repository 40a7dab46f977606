"""Locks on files and folders, shared by all processes, that end with the process that holds one.

They tell what a live process is writing from what a dead one left. A file system or a system
without ``flock`` has none: there, names are unique instead, and nothing is ever cleaned up.
"""

import errno
import hashlib
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

SUFFIX = ".intaglio-part"  # what is called so is ours, and is removed when nobody holds its lock
LONGEST = 143  # bytes of a name that every usual file system takes; most take 255
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock on a file or folder; yields False if there is none of that name.

    Waits for another process that holds it, with a warning that says so.
    """
    descriptor, there = None, False
    while not there and os.path.lexists(path):
        with suppress(FileNotFoundError):  # replaced in the meantime
            descriptor, there = _lock(path), True
    try:
        yield there
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def staging(path: Path, make: Callable[[Path], object]) -> Iterator[Path]:
    """A new hidden neighbour of ``path``, locked, and removed at the end if it is still there.

    What a dead process left under this name is removed first; a live one is waited for.

    Args:
        path: what will be written.
        make: creates the neighbour, empty, and raises FileExistsError if there is one.

    Raises:
        OSError: the folder of ``path`` cannot be written; the error names ``path``.
    """
    part, descriptor = _claim(path, make)
    ours = _identity(part)
    try:
        yield part
    finally:
        # by now another process may have one of the same name
        if _identity(part) == ours:
            remove(part)
        if descriptor is not None:
            os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove what dead processes have left in a folder; nothing of live ones."""
    for part in folder.glob(f".*{SUFFIX}"):
        with suppress(FileNotFoundError, BlockingIOError):
            if (descriptor := _lock(part, wait=False)) is not None:
                remove(part)
                os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file or a whole folder, as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            path.unlink()


def _hidden(path: Path, mark: str = "") -> Path:
    """A neighbour for what is not complete; of a long name, the beginning and a hash."""
    name, ending = path.name, f"{mark}{SUFFIX}"
    room = LONGEST - len(f".{ending}")
    if len(coded := os.fsencode(name)) > room:
        digest = hashlib.sha256(coded).hexdigest()[:16]
        name = f"{coded[: room - 17].decode(errors='ignore')}.{digest}"
    return path.with_name(f".{name}{ending}")


def _claim(path: Path, make: Callable[[Path], object]) -> tuple[Path, int | None]:
    part = _hidden(path)
    while True:
        try:
            make(part)
            made = True
        except FileExistsError:
            made = False
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
        try:
            descriptor = _lock(part, target=path)
        except FileNotFoundError:  # another process has removed or renamed it
            continue
        except BaseException:
            if made:
                remove(part)
            raise
        if made:
            return part, descriptor
        if descriptor is None:  # nobody knows whose it is
            part = _hidden(path, f".{secrets.token_hex(6)}")
        else:
            remove(part)
            os.close(descriptor)


def _lock(path: Path, *, wait: bool = True, target: Path | None = None) -> int | None:
    """Descriptor of a file or folder that holds its lock, None if there are no locks here.

    A warning about who has to wait names the ``target``, for which the file stands.

    Raises:
        BlockingIOError: a live process holds it, and there is no ``wait`` for it.
        FileNotFoundError: it is not there, or no longer when the lock was had.
    """
    if fcntl is None:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except PermissionError:  # another user's
        return None
    try:
        _hold(descriptor, target or path, wait)
        status = os.fstat(descriptor)
        if _identity(path) != (status.st_dev, status.st_ino):
            raise FileNotFoundError(path)
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, OSError) and error.errno in _NO_LOCKS:
            return None
        raise
    return descriptor


def _hold(descriptor: int, target: Path, wait: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not wait:
            raise
        logging.getLogger(__name__).warning("waiting for another process that writes %s", target)
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
