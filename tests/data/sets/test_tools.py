"""Codec 2 comes from the system if it is there, else from a fetched copy."""

import os
import shutil

import pytest

from intaglio.data.sets.tools import codec2_programs, get_codec2


@pytest.fixture
def no_codec2(monkeypatch):
    which = shutil.which
    hidden = ("c2enc", "c2dec")
    monkeypatch.setattr(shutil, "which", lambda name: None if name in hidden else which(name))


def offer(debian, library: str) -> None:
    debian.offer("codec2", {"usr/bin/c2enc": b"enc", "usr/bin/c2dec": b"dec"})
    debian.offer(library, {"usr/lib/x86_64-linux-gnu/libcodec2.so.1.0": b"lib"})


@pytest.mark.parametrize("library", ["libcodec2-1.0", "libcodec2-1.2"])
def test_it_is_fetched_once(debian, no_codec2, monkeypatch, tmp_path, library):
    offer(debian, library)
    if library != "libcodec2-1.0":
        says = f"#!/bin/sh\necho codec2; echo '  Hängt ab von: {library}'\n"
        (tmp_path / "tools" / "apt-cache").write_text(says)
    assert codec2_programs() is None
    programs = get_codec2()
    assert programs.encoder.read_bytes() == b"enc" and programs.decoder.read_bytes() == b"dec"
    assert programs.library is not None
    assert (programs.library / "libcodec2.so.1.0").read_bytes() == b"lib"
    assert codec2_programs() == programs == get_codec2()
    assert debian.calls == [f"download codec2 {library}"]
    assert [path.name for path in (tmp_path / "home" / "tools").iterdir()] == ["codec2"]

    monkeypatch.setenv("LD_LIBRARY_PATH", "/else")
    paths = programs.environment()["LD_LIBRARY_PATH"].split(os.pathsep)
    assert paths == [str(programs.library), "/else"]


def test_the_system_comes_first(debian, tmp_path, monkeypatch):
    for name in ("c2enc", "c2dec"):
        (tmp_path / "tools" / name).write_text("#!/bin/sh\n")
        (tmp_path / "tools" / name).chmod(0o755)
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    programs = get_codec2()
    assert programs.encoder == tmp_path / "tools" / "c2enc" and programs.library is None
    assert "LD_LIBRARY_PATH" not in programs.environment()
    assert debian.calls == []


def test_packages_without_the_programs_leave_nothing(debian, no_codec2, tmp_path):
    debian.offer("codec2", {"usr/share/readme": b""})
    debian.offer("libcodec2-1.0", {"usr/lib/libcodec2.so.1.0": b"lib"})
    with pytest.raises(OSError, match="hold no c2enc"):
        get_codec2()
    assert not (tmp_path / "home").exists()
