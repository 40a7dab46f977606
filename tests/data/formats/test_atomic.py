import errno
import itertools
import json
import logging
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from intaglio.data.formats import atomic
from intaglio.data.formats.atomic import replacing, replacing_set, settle
from intaglio.data.formats.locks import staging, sweep

KILLS = Path(__file__).with_name("killed_writes.py")
OLD = {"a": "old a", "b": "old b", "gone": "old", "user": "mine"}
NEW = {"a": "new a", "b": "new b", "c": "new c", "user": "mine"}
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="folders are exchanged on Linux alone")


@pytest.fixture
def folder(tmp_path):
    """A folder with a set of files and one of somebody else."""
    folder = tmp_path / "set"
    folder.mkdir()
    fill(folder)
    return folder


def fill(folder):
    for name, text in OLD.items():
        (folder / name).write_text(text)


def content(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def write(folder, content="new"):
    with replacing_set(folder, drop=("gone",)) as new:
        for name in ("a", "b", "c"):
            (new / name).write_text(f"{content} {name}")


def test_a_file_is_replaced_when_the_block_ends(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_dead_process_left_of_a_file_is_removed(tmp_path):
    part = "import os, pathlib\nfrom intaglio.data.formats.atomic import replacing\n"
    part += f"with replacing(pathlib.Path({str(tmp_path / 'a')!r})) as part:\n"
    part += "    part.write_text('a long half of it')\n    os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", part]).returncode == -9
    assert len(list(tmp_path.iterdir())) == 1
    with replacing(tmp_path / "a") as part:
        part.write_text("new")
    assert content(tmp_path) == {"a": "new"}


def test_a_live_writer_is_waited_for(tmp_path, caplog):
    path, waiting = tmp_path / "a", threading.Event()

    class Noticed(logging.Handler):
        def emit(self, record):
            waiting.set()

    def second():
        with replacing(path) as part:
            part.write_text("second")

    logger = logging.getLogger("intaglio.data.formats.locks")
    logger.addHandler(handler := Noticed())
    try:
        with replacing(path) as part:
            thread = threading.Thread(target=second)
            thread.start()
            assert waiting.wait(10)
            part.write_text("first")
        assert path.read_text() in ("first", "second")
        thread.join(10)
    finally:
        logger.removeHandler(handler)
    assert content(tmp_path) == {"a": "second"}
    assert f"waiting for another process that writes {path}" in caplog.text


def test_a_missing_folder_is_named_as_the_caller_knows_it(tmp_path):
    with pytest.raises(FileNotFoundError) as raised, replacing(tmp_path / "none" / "a"):
        raise AssertionError
    assert raised.value.filename == str(tmp_path / "none" / "a")


@pytest.mark.parametrize("inside", [False, True], ids=["exchanged", "one by one"])
def test_a_set_replaces_another_and_keeps_other_files(folder, inside, monkeypatch):
    if inside:
        monkeypatch.chdir(folder)
    identity = folder.stat().st_ino
    folder.chmod(0o750)
    write(folder)
    assert content(folder) == NEW
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750
    assert list(folder.parent.iterdir()) == [folder]
    assert (folder.stat().st_ino == identity) is (inside or sys.platform != "linux")


def test_sub_folders_are_kept(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "file").write_text("deep")
    write(folder)
    assert (folder / "sub" / "file").read_text() == "deep"
    (folder / "sub" / "file").unlink()
    (folder / "sub").rmdir()
    assert content(folder) == NEW


def test_a_set_goes_through_a_symbolic_link(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and content(folder) == NEW


def failing(function, steps, at):
    """The function, which finds the disk full if it is the ``at``-th step."""

    def step(*args, **kwargs):
        if next(steps) == at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return function(*args, **kwargs)

    return step


@pytest.mark.parametrize("inside", [False, True], ids=["exchanged", "one by one"])
def test_a_full_disk_at_any_step_leaves_one_of_the_sets(tmp_path, monkeypatch, inside):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # takes long on a busy disk
    for at in itertools.count():
        folder = tmp_path / str(at) / "set"
        folder.mkdir(parents=True)
        fill(folder)
        monkeypatch.chdir(folder if inside else tmp_path)
        steps = itertools.count()
        with monkeypatch.context() as patch:
            for name in ("rename", "replace", "link", "mkdir", "fsync", "open"):
                patch.setattr(os, name, failing(getattr(os, name), steps, at))
            try:
                write(folder)
            except OSError as error:
                assert error.errno == errno.ENOSPC and error.filename == str(folder)
                if not (folder / ".set.intaglio-ready").exists():
                    assert content(folder) in (OLD, NEW)
            else:
                assert content(folder) == NEW
        settle(folder)
        assert content(folder) in (OLD, NEW)
        write(folder, "next")
        assert content(folder)["a"] == "next a"
        assert list(folder.parent.iterdir()) == [folder]
        if next(steps) < at:
            break
    assert at > 10


@LINUX
@pytest.mark.parametrize("way", ["exchanged", "inside", "linked", "absent"])
def test_a_kill_at_any_step_leaves_one_of_the_sets(tmp_path, way):
    run = [sys.executable, str(KILLS), str(tmp_path), way]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    new = NEW if way != "absent" else {name: text for name, text in NEW.items() if name != "user"}
    old = OLD if way != "absent" else {}
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) > 20
    names = ["set", *(f"set/{name}" for name in new)]
    names = [*(["elsewhere", "elsewhere/b"] if way == "linked" else []), *names]
    for one in found:
        assert way in ("inside", "linked") or one["killed"] in (old, new)
        assert one["settled"] in (old, new)
        assert one["next"] == {name: text.replace("new", "next") for name, text in new.items()}
        assert one["left"] == names
    assert found[0]["killed"] == old and found[-1]["killed"] == new


def test_files_have_the_permissions_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        with replacing_set(tmp_path / "set") as new:
            (new / "private").touch(0o600)
        with replacing(tmp_path / "file") as part:
            part.unlink()
            part.touch(0o600)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in sorted(tmp_path.rglob("*"))]
    assert modes == [0o640, 0o750, 0o640]


def test_a_set_that_fails_leaves_no_folder(tmp_path):
    with pytest.raises(RuntimeError), replacing_set(tmp_path / "x" / "y" / "set") as new:
        (new / "a").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError), replacing_set(tmp_path / "file"):
        raise AssertionError
    assert content(tmp_path) == {"file": "mine"}


def test_all_of_a_set_is_on_the_disk_before_it_appears(tmp_path, monkeypatch):
    fsync, put, flushed = os.fsync, atomic._put, set()

    def noted(descriptor):
        flushed.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def checked(new, folder, drop):
        assert {path.stat().st_ino for path in (new, *new.rglob("*"))} <= flushed
        put(new, folder, drop)
        assert folder.parent.stat().st_ino in flushed

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(atomic, "_put", checked)
    write(tmp_path / "set")
    assert content(tmp_path / "set") == {name: f"new {name}" for name in "abc"}
    with replacing_set(tmp_path / "deep") as new:
        (new / "en" / "digits").mkdir(parents=True)
        (new / "en" / "digits" / "a").write_text("new a")
    assert content(tmp_path / "deep" / "en" / "digits") == {"a": "new a"}


@pytest.mark.parametrize("kind", ["a folder", "a socket", "a pipe that nobody reads"])
def test_what_is_no_file_is_not_replaced(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    path = Path("a")
    if kind == "a folder":
        path.mkdir()
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("a")
    else:
        os.mkfifo(path)
    before = path.lstat().st_mode
    with pytest.raises(
        OSError, match=r"Is a directory|a socket, not a file|nobody reads"
    ) as raised:
        with replacing(path) as part:
            part.write_text("new")
    assert "a" in (raised.value.filename, str(raised.value).split(" ")[0])
    with pytest.raises(OSError), replacing_set(Path()) as new:
        (new / "a").write_text("new")
    with pytest.raises(OSError), replacing_set(Path(), drop=("a",)):
        raise AssertionError
    assert path.lstat().st_mode == before and os.listdir() == ["a"]


def test_devices_and_pipes_are_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    (tmp_path / "null").symlink_to("/dev/null")
    for path in (tmp_path / "pipe", tmp_path / "null", Path("/dev/null")):
        with replacing(path) as part:
            part.write_text("new")
    assert os.read(reader, 9) == b"new"
    os.close(reader)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "null").is_symlink()


def test_standard_output_goes_on_after_it_was_written_to(tmp_path):
    code = "from pathlib import Path\nfrom intaglio.data.formats.atomic import replacing\n"
    code += (
        "print('before')\nwith replacing(Path('/dev/stdout')) as part: part.write_text('new\\n')"
    )
    with (tmp_path / "out").open("w") as out:
        subprocess.run([sys.executable, "-c", f"{code}\nprint('after')"], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "before\nnew\nafter\n"


@pytest.mark.parametrize("mode", [0o600, 0o444, 0o664])
def test_a_file_keeps_its_permissions(folder, mode):
    for name in ("a", "user"):
        (folder / name).chmod(mode)
    with replacing(folder / "user") as part:
        assert stat.S_IMODE(part.stat().st_mode) == mode | 0o600
        part.unlink()
        part.write_text("mine")
    write(folder)
    assert content(folder) == NEW
    modes = [stat.S_IMODE((folder / name).stat().st_mode) for name in ("a", "user", "c")]
    assert modes == [mode, mode, 0o666 & ~umask()]


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives files away")
def test_a_file_keeps_its_owner(folder):
    for name in ("a", "user"):
        os.chown(folder / name, 1234, 2345)
    with replacing(folder / "user") as part:
        part.write_text("mine")
    write(folder)
    assert content(folder) == NEW
    found = [(folder / name).stat() for name in ("a", "user")]
    assert [(one.st_uid, one.st_gid) for one in found] == [(1234, 2345)] * 2


@pytest.mark.parametrize("there", [True, False])
def test_a_symbolic_link_is_written_through(tmp_path, there):
    (tmp_path / "elsewhere").mkdir()
    if there:
        (tmp_path / "elsewhere" / "file").write_text("old")
    (tmp_path / "link").symlink_to("elsewhere/file")
    (tmp_path / "second").symlink_to("link")
    with replacing(tmp_path / "second") as part:
        part.write_text("new")
    assert (tmp_path / "second").is_symlink() and (tmp_path / "link").is_symlink()
    assert content(tmp_path / "elsewhere") == {"file": "new"}
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "link", "second"]


@pytest.mark.parametrize("there", [True, False])
def test_links_of_a_set_are_written_through(folder, tmp_path, there):
    (tmp_path / "disk").mkdir()
    for name in ("a", "gone"):
        (folder / name).unlink()
        (folder / name).symlink_to(f"../disk/{name}")
    (tmp_path / "disk" / "gone").write_text("old")
    if there:
        (tmp_path / "disk" / "a").write_text("old")
        (tmp_path / "disk" / "a").chmod(0o600)
    write(folder)
    assert os.readlink(folder / "a") == "../disk/a" and content(folder) == NEW
    assert content(tmp_path / "disk") == {"a": "new a", "gone": "old"}
    assert sorted(os.listdir(tmp_path)) == ["disk", "set"]
    mode = 0o600 if there else 0o666 & ~umask()
    assert stat.S_IMODE((tmp_path / "disk" / "a").stat().st_mode) == mode


@pytest.mark.parametrize(
    "way", ["to another of them", "to one file", "to no folder", "in a circle"]
)
def test_links_of_a_set_that_cannot_be_written_through_change_nothing(folder, way):
    leads = {"to another of them": "b", "to no folder": "none/a", "in a circle": "a"}
    for name in ("a", "b") if way == "to one file" else ("a",):
        (folder / name).unlink()
        (folder / name).symlink_to(leads.get(way, "user"))
    before = sorted(os.listdir(folder))
    with pytest.raises(OSError, match=r"links to one file|cannot be written|Too many levels"):
        write(folder)
    assert sorted(os.listdir(folder)) == before and (folder / "user").read_text() == "mine"
    assert (folder / "a").is_symlink() and list(folder.parent.iterdir()) == [folder]


def test_hidden_files_of_users_stay(tmp_path):
    for name in (".note.part", ".mine.part", ".set.ready", ".x.intaglio-part.txt"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis").write_text("mine")
    (tmp_path / ".a.part").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    sweep(tmp_path)
    settle(tmp_path)
    with replacing(tmp_path / "a") as part:
        part.write_text("new")
    write(tmp_path)
    assert set(before) <= set(tmp_path.rglob("*"))
    assert (tmp_path / ".a.part").read_text() == "mine"


@pytest.mark.parametrize("name", ["x" * 250, "x" * 255, "ü" * 127, f"{'x' * 200}.tar.gz"])
def test_the_longest_names_can_be_written(tmp_path, name, monkeypatch):
    with replacing(tmp_path / name) as part, replacing(tmp_path / f"y{name[1:]}") as other:
        assert part != other and len(os.fsencode(part.name)) <= 143
        part.write_text("new")
        other.write_text("new")
    write(tmp_path / f"z{name[1:]}")
    assert sorted(os.listdir(tmp_path)) == sorted(first + name[1:] for first in (name[0], *"yz"))
    monkeypatch.setattr("intaglio.data.formats.locks.fcntl", None)  # names are unique then
    with staging(tmp_path / name, os.mkdir) as part, staging(tmp_path / name, os.mkdir) as other:
        assert part != other


def test_sweeping_leaves_what_a_live_process_writes(tmp_path):
    dead = tmp_path / ".dead.intaglio-part"
    dead.mkdir()
    with staging(tmp_path / "set", os.mkdir) as live:
        sweep(tmp_path)
        assert live.is_dir() and not dead.exists()


def test_without_locks_nothing_of_others_is_touched(tmp_path, monkeypatch):
    monkeypatch.setattr("intaglio.data.formats.locks.fcntl", None)
    with staging(tmp_path / "a", os.mkdir) as first, staging(tmp_path / "a", os.mkdir) as second:
        assert first != second and first.is_dir() and second.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_does_not_exchange_folders_gets_the_set_too(folder, monkeypatch):
    def no(*_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(atomic, "exchange", no)
    write(folder)
    assert content(folder) == NEW
    assert list(folder.parent.iterdir()) == [folder]
