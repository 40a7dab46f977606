"""Package managers that serve out of a folder, in place of the real ones; a packer of a game."""

import io
import os
import struct
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

APT_GET = """#!/bin/sh
echo "$@" >> "{shelf}/calls"
case "$1" in
update)
    [ -e "{shelf}/unreachable" ] && {{ echo "E: cannot resolve" >&2; exit 100; }}
    touch "{shelf}/lists"; exit 0;;
download)
    shift
    [ -e "{shelf}/lists" ] || {{ echo "W: odd" >&2; echo "E: Unable to locate $1" >&2; exit 100; }}
    echo "W: Download is performed unsandboxed as root" >&2
    for name in "$@"; do
        [ -e "{shelf}/$name.tar" ] || {{ echo "E: Unable to locate $name" >&2; exit 100; }}
        cp "{shelf}/$name.tar" "./${{name}}_1_all.deb"
    done;;
esac
"""
DPKG_DEB = """#!/bin/sh
[ "$1" = -x ] && tar xf "$2" -C "$3"
"""


NPM = """#!/bin/sh
for word in "$@"; do :; done
name=$(echo "$word" | tr / _)
[ -e "{shelf}/$name.tgz" ] || {{
    echo "npm error code E404" >&2
    echo "npm error 404 no $word" >&2
    echo "npm error A complete log is somewhere" >&2
    exit 1
}}
cp "{shelf}/$name.tgz" .
"""


class Npm:
    """Packages on a shelf."""

    def __init__(self, shelf: Path) -> None:
        self.shelf = shelf

    def offer(self, package: str, files: dict[str, bytes]) -> None:
        with tarfile.open(self.shelf / f"{package.replace('/', '_')}.tgz", "w:gz") as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(f"package/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


class Debian:
    """Packages on a shelf; ``lists`` are there from the start, as after ``apt-get update``."""

    def __init__(self, shelf: Path) -> None:
        self.shelf = shelf
        (shelf / "lists").touch()

    def offer(self, package: str, files: dict[str, bytes]) -> None:
        tree = self.shelf / f"{package}.tree"
        for name, content in files.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(content)
        command = ["tar", "cf", str(self.shelf / f"{package}.tar"), "-C", str(tree), "."]
        subprocess.run(command, check=True)

    @property
    def calls(self) -> list[str]:
        log = self.shelf / "calls"
        return log.read_text().splitlines() if log.exists() else []


class Packer:
    """Writes RNC ProPack, method 1, with codes whose words have the given ``lengths``."""

    def __init__(self, lengths: Sequence[int] = (4,) * 16) -> None:
        self.lengths = lengths
        self.body, self.unpacked, self.blocks = bytearray(), bytearray(), 0
        self.word, self.used = 0, 16  # where the last word is, and how many of its bits are used
        self.put(0, 2)
        self.words, word = {}, 0
        for length in range(1, 16):
            for symbol, own in enumerate(lengths):
                if own == length:
                    self.words[symbol], word = f"{word:0{length}b}", word + 1
            word <<= 1

    def put(self, number: int, count: int) -> None:
        for bit in range(count):
            if self.used == 16:
                self.word, self.used = len(self.body), 0
                self.body += b"\0\0"
            self.body[self.word + self.used // 8] |= (number >> bit & 1) << self.used % 8
            self.used += 1

    def number(self, number: int) -> None:
        symbol = number.bit_length()
        for bit in self.words[symbol]:
            self.put(int(bit), 1)
        self.put(number, max(symbol - 1, 0))  # without its first one

    def codes(self, pairs: int) -> None:
        """The head of a block."""
        self.blocks += 1
        for _ in range(3):
            self.put(len(self.lengths), 5)
            for length in self.lengths:
                self.put(length, 4)
        self.put(pairs, 16)

    def block(self, *pairs: tuple[bytes, int, int]) -> None:
        """A literal and the distance and length of a match, each; the last has no match."""
        self.codes(len(pairs))
        for place, (literal, distance, length) in enumerate(pairs, start=1):
            self.number(len(literal))
            self.body += literal
            self.unpacked += literal
            if place < len(pairs):
                self.number(distance - 1)
                self.number(length - 2)
                for _ in range(length):
                    self.unpacked += self.unpacked[-distance:][:1]

    def packed(self, size: int | None = None) -> bytes:
        """The whole, with right CRCs, and another size if one is given."""
        size = len(self.unpacked) if size is None else size
        crcs = self.crc(self.unpacked), self.crc(self.body)
        head = struct.pack(">4sIIHHBB", b"RNC\1", size, len(self.body), *crcs, 0, self.blocks)
        return head + bytes(self.body)

    @staticmethod
    def crc(content: bytes | bytearray) -> int:
        crc = 0
        for byte in content:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ 0xA001 * (crc & 1)
        return crc


@pytest.fixture
def packer() -> type[Packer]:
    """What packs files as some games do."""
    return Packer


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Debian:
    """Fake apt-get and dpkg-deb first on the PATH, no apt-cache, and an empty home of the sets."""
    shelf, tools = tmp_path / "shelf", tmp_path / "tools"
    shelf.mkdir()
    tools.mkdir()
    for name, text in (("apt-get", APT_GET), ("dpkg-deb", DPKG_DEB), ("apt-cache", "#!/bin/sh\n")):
        (tools / name).write_text(text.format(shelf=shelf) if name == "apt-get" else text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("INTAGLIO_DATA", str(tmp_path / "home"))
    return Debian(shelf)


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Npm:
    """Fake npm first on the PATH, and an empty home of the sets."""
    shelf, tools = tmp_path / "shelf", tmp_path / "tools"
    for folder in (shelf, tools):
        folder.mkdir(exist_ok=True)
    (tools / "npm").write_text(NPM.format(shelf=shelf))
    (tools / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("INTAGLIO_DATA", str(tmp_path / "home"))
    return Npm(shelf)


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Pretend to be the user with this number."""
    return lambda number: monkeypatch.setattr(os, "geteuid", lambda: number)
