"""Atomic writes: of one file, or of several that belong together and appear in one step.

Whenever the process is killed or the disk is full, readers find all of the old or all of the new.
What a killed process has left is removed by the next one that writes the same; see
`intaglio.data.formats.locks`. This module needs the standard library alone, and every other part
of the package may use it.
"""

import errno
import os
import shutil
import stat
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from intaglio.data.formats.exchange import exchange
from intaglio.data.formats.locks import locked, remove, staging, sweep

_INSIDE = "set"  # name of the staging folder of a folder that cannot be exchanged, within it
_READY = f".{_INSIDE}.intaglio-ready"  # its name once it is complete
_STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Path of an empty temporary file that replaces ``path`` when the block ends without an error.

    It is flushed to the disk first, and removed if the block fails: readers see the old file or the
    complete new one, never a part. Another process that writes the same file is waited for. The new
    file has the permissions of the old one. A symbolic link stays, and what it points to is
    replaced. A character device, such as ``/dev/null``, or a pipe that somebody reads is written
    to.

    Raises:
        OSError: the folder of ``path`` cannot be written, or ``path`` is a folder, a disk, a socket
            or a pipe that nobody reads.
    """
    old = check_target(path)
    if old is not None and (not stat.S_ISREG(old.st_mode) or str(path) in _STANDARD):
        with TemporaryDirectory() as folder:
            _make_file(content := Path(folder) / "content")
            yield content
            _send(content, path)
        return
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    with _naming(path), staging(target, _make_file) as part:
        mode = stat.S_IMODE(part.stat().st_mode)
        if old is not None:
            mode = stat.S_IMODE(old.st_mode) & 0o777
            part.chmod(mode | 0o600)  # what is private is so from the beginning
        yield part
        _finish(part, mode, old)
        os.replace(part, target)


def check_target(path: Path) -> os.stat_result | None:
    """The status of what `replacing` would replace or write to; None if there is nothing.

    Raises:
        OSError: a folder, a disk or a socket is in the place of the file.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if stat.S_ISBLK(status.st_mode) or stat.S_ISSOCK(status.st_mode):
        raise OSError(f"{path} is a disk or a socket, not a file; choose another output")
    return status


@contextmanager
def replacing_set(folder: str | Path, *, drop: Collection[str] = ()) -> Iterator[Path]:
    """An empty hidden folder, whose files replace those of ``folder`` when the block ends well.

    They appear in one step, and files of ``drop`` that were not written again vanish in it. Other
    files of ``folder`` are kept. They are flushed to the disk first, and have the permissions that
    the umask leaves them, or those of the files that they replace. A symbolic link among these
    stays, and what it points to is replaced; one to be dropped vanishes alone. If the block fails,
    all stays as it was. What is new as a whole may have folders in it.

    On Linux the two folders are exchanged. Where this cannot be (a mount point, the working folder,
    one with sub-folders or links to replace, a file system that does not exchange), the files are
    renamed one by one; after a kill between two renames, `settle` does the rest: whatever writes
    here next calls it, and so do the readers of bundles.

    Args:
        folder: made if it is missing, with its parents.
        drop: names of files in it that belong to the set that is replaced.

    Raises:
        NotADirectoryError: ``folder`` is something else.
        OSError: it cannot be written, a file would replace a folder, a device or a pipe, or two
            would replace the same one by a link.
    """
    folder = Path(os.path.realpath(folder))
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    _check_files(folder, drop)
    sweep(folder)
    settle(folder)
    missing = [parent for parent in folder.parents if not parent.exists()]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        place = folder if _is_movable(folder) else folder / _INSIDE
        with _naming(folder), staging(place, os.mkdir) as new:
            mode = stat.S_IMODE(new.stat().st_mode)
            yield new
            _check_files(folder, os.listdir(new))
            for file in new.iterdir():
                old = check_target(folder / file.name)
                usual = stat.S_IMODE(file.stat().st_mode) | (mode & 0o666)
                _finish(file, usual if old is None else stat.S_IMODE(old.st_mode) & 0o777, old)
            _flush(new)
            _put(new, folder, drop)
    except BaseException:
        with suppress(OSError):  # not empty: another process writes there
            for parent in missing:
                parent.rmdir()
        raise


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Have the error of a full disk name what was to be written."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            error.filename = str(path)
        raise


def _send(content: Path, path: Path) -> None:
    """Write a whole file to a device or a pipe."""
    sys.stdout.flush()
    try:
        number = _STANDARD.get(str(path))
        flags = os.O_WRONLY | getattr(os, "O_NONBLOCK", 0)  # do not wait for a reader
        descriptor = os.open(path, flags) if number is None else os.dup(number)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise OSError(f"{path} is a pipe that nobody reads; choose another output") from error
    with content.open("rb") as source, open(descriptor, "wb") as sink:
        if number is None:
            os.set_blocking(descriptor, True)
        shutil.copyfileobj(source, sink)


def _check_files(folder: Path, names: Collection[str]) -> None:
    """Refuse to replace what is no file, and to remove it; and links that cannot be followed."""
    found: dict[str, Path] = {}
    for path in (folder / name for name in names):
        status = check_target(path)
        if status is not None and not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path} is a device or a pipe, not a file; choose another folder")
        target = os.path.realpath(path)
        if not os.access(os.path.dirname(target), os.W_OK) and path.is_symlink():
            raise OSError(f"{path} is a link to {target}, which cannot be written")
        if (other := found.setdefault(target, path)) is not path:
            raise OSError(f"{path} and {other} are links to one file; remove one of them")


def settle(folder: Path) -> None:
    """Finish a replacement of files in ``folder`` that a killed process began; usually nothing."""
    ready = folder / _READY
    if ready.is_dir() and not ready.is_symlink() and os.access(folder, os.W_OK):
        with locked(ready) as there:
            if there:
                _move_in(ready)


def _put(new: Path, folder: Path, drop: Collection[str]) -> None:
    """Let the complete set take its place."""
    if not folder.exists():
        try:
            os.rename(new, folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster
                raise
        else:
            return _flush(folder.parent)
    with locked(folder):
        if new.parent == folder.parent and _exchanged(new, folder, drop):
            return
        for name in drop:
            if not os.path.lexists(new / name) and os.path.lexists(folder / name):
                (new / name).mkdir()  # stands for a file to remove
        _rename_into(folder, new)
        _flush(folder)
        _move_in(folder / _READY)


def _exchanged(new: Path, folder: Path, drop: Collection[str]) -> bool:
    """Exchange the two folders after linking what is kept into the new one, if that can be done."""
    if any((folder / name).is_symlink() for name in os.listdir(new)):
        return False
    kept = [
        path
        for path in folder.iterdir()
        if path.name not in drop and not os.path.lexists(new / path.name)
    ]
    if any(path.is_dir() and not path.is_symlink() for path in kept):
        return False
    linked = []
    try:
        for path in kept:
            os.link(path, new / path.name, follow_symlinks=False)
            linked.append(new / path.name)
        status = folder.stat()
        if (status.st_uid, status.st_gid) != (new.stat().st_uid, new.stat().st_gid):
            os.chown(new, status.st_uid, status.st_gid)
        shutil.copymode(folder, new)
        _flush(new)
        exchange(new, folder)
    except OSError:
        for path in linked:
            path.unlink()
        return False
    # new is the old folder now
    for path in new.iterdir():
        if path.name not in drop and not os.path.lexists(folder / path.name):
            os.rename(path, folder / path.name)  # it has come since they were listed
    remove(new)
    _flush(folder.parent)
    return True


def _rename_into(folder: Path, new: Path) -> None:
    """Put the complete set into ``folder``, where `settle` finds it."""
    try:
        return os.rename(new, folder / _READY)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    with staging(folder / _INSIDE, os.mkdir) as inside:  # the folder is mounted from elsewhere
        shutil.copytree(new, inside, dirs_exist_ok=True)
        for file in inside.iterdir():
            _flush(file)
        os.rename(inside, folder / _READY)


def _move_in(ready: Path) -> None:
    for path in sorted(ready.iterdir()):
        target = ready.parent / path.name
        if path.is_dir():
            target.unlink(missing_ok=True)
            path.rmdir()
        elif target.is_symlink():  # which may lead to another file system
            with replacing(target) as part:
                shutil.copyfile(path, part)
            path.unlink()
        else:
            os.replace(path, target)
    ready.rmdir()
    _flush(ready.parent)


def _is_movable(folder: Path) -> bool:
    """Whether a folder can be made or exchanged by its parent, as far as can be told beforehand."""
    if not folder.exists():
        return True
    if sys.platform != "linux" or os.path.ismount(folder) or not os.access(folder.parent, os.W_OK):
        return False
    here = Path(os.path.realpath(os.curdir))  # whoever stands in the folder stays there
    return folder not in (here, *here.parents)


def _make_file(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def _finish(file: Path, mode: int, old: os.stat_result | None) -> None:
    """Have a file on the disk, with its permissions, which some writers restrict, and the owner of
    the old one, if the system allows it."""
    for path in (*file.rglob("*"), file):
        _flush(path)
    status = file.stat()
    if old is not None and (status.st_uid, status.st_gid) != (old.st_uid, old.st_gid):
        with suppress(PermissionError):
            os.chown(file, old.st_uid, old.st_gid)
    if stat.S_IMODE(status.st_mode) != mode:
        file.chmod(mode)


def _flush(path: Path) -> None:
    """Have the content of a file, or the names in a folder, on the disk."""
    if os.name != "posix" and path.is_dir():
        return  # Windows opens no folders
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
