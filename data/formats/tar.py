"""Tar archives, read strictly and written deterministically.

The reader knows ustar and, of the extensions, long names (pax and GNU). Members must be regular
files with plain relative paths; nothing is ever unpacked to the disk. A tar archive has a checksum
in each header and none over content. What can be checked is: every header, the zeros that fill the
last block of a member, and the zeros at the end, without which the archive is truncated.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from intaglio.data.formats.regular_file import check_regular

BLOCK = 512
MAX_MEMBER_BYTES = 1 << 30
MAX_END_BLOCKS = 22  # two, and what fills the usual record of 20 blocks
MAX_NAME_BYTES = 1 << 16  # of a record that only extends a header
_REGULAR = (b"0", b"\0", b"7")
_FOLDER, _PAX, _PAX_GLOBAL, _GNU_NAME = b"5", b"x", b"g", b"L"


class ShardError(ValueError):
    """A shard that is damaged, truncated, unsafe or no tar archive at all."""


def tar_members(path: Path, max_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the regular files of an archive, checked as they come.

    Files whose name begins with a dot are left out, folders too.

    Args:
        path: the archive.
        max_bytes: largest file that is accepted.

    Raises:
        ShardError: truncated, damaged, no tar archive, or a member that is unsafe or too large.
        ValueError: a folder, a device or a pipe.
        OSError: it cannot be read.
    """
    check_regular(path, "a tar archive")
    size = path.stat().st_size
    if size == 0 or size % BLOCK:
        raise ShardError(f"{path} is empty, truncated or no tar archive: {size} bytes")
    with path.open("rb") as file:
        longer = ""  # name that the next header cannot hold
        while any(block := _read(file, BLOCK, path)):
            where = f"{path}, byte {file.tell() - BLOCK}"
            kind, length, name = block[156:157], _size(block, where), longer or _name(block, where)
            most = max_bytes if kind in _REGULAR else MAX_NAME_BYTES
            if length > min(most, size - file.tell()):
                raise ShardError(
                    f"{where}: {name!r} has {length} bytes; the limit is {most}, and "
                    f"{size - file.tell()} are left"
                )
            content = _read(file, length, path)
            if any(_read(file, -length % BLOCK, path)):
                raise ShardError(f"{where}: what fills the last block of {name!r} is not zero")
            longer = ""
            if kind == _PAX:
                longer = _pax_name(content, where)
            elif kind == _GNU_NAME:
                longer = _text(content.removesuffix(b"\0"), where)
            elif kind in _REGULAR:
                _refuse_unsafe(name, where)
                if not name.rpartition("/")[2].startswith("."):
                    yield name.removeprefix("./"), content
            elif kind not in (_FOLDER, _PAX_GLOBAL):
                raise ShardError(f"{where}: {name!r} is not a regular file (type {kind!r})")
        end = _read(file, min(size - file.tell(), MAX_END_BLOCKS * BLOCK), path)
        if len(end) < BLOCK or longer:
            raise ShardError(f"{path} is truncated: it does not end in two blocks of zeros")
        if any(end) or size > file.tell():
            raise ShardError(f"{path} is damaged: zeros stand where its end is not")


def tar_member(name: str, content: bytes) -> bytes:
    """A regular file as part of a ustar archive: no times, no owners, nothing but name and content.

    A name of more than 100 bytes is held by a pax header.

    Raises:
        ValueError: the name is unsafe, or the content too large.
    """
    _refuse_unsafe(name, "cannot write")
    if len(content) > MAX_MEMBER_BYTES:
        raise ValueError(f"{name!r} has {len(content)} bytes; the limit is {MAX_MEMBER_BYTES}")
    raw = name.encode()
    if len(raw) <= 100:
        return _member(raw, content, b"0")
    record = b" path=" + raw + b"\n"
    length = len(record)
    while len(record) + len(str(length)) != length:  # the length counts its own digits
        length = len(record) + len(str(length))
    return _member(b"pax", b"%d" % length + record, _PAX) + _member(raw[:100], content, b"0")


def _member(name: bytes, content: bytes, kind: bytes) -> bytes:
    block = bytearray(BLOCK)
    block[: len(name)] = name
    block[100:136] = b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % len(content)
    block[136:148] = b"%011o\0" % 0
    block[156:157] = kind
    block[257:265] = b"ustar\00000"
    block[148:156] = b"%06o\0 " % _checksum(block)
    return bytes(block) + content + bytes(-len(content) % BLOCK)


def _read(file: BinaryIO, count: int, path: Path) -> bytes:
    content = file.read(count)
    if len(content) < count:
        raise ShardError(f"{path} is truncated: it ends too early")
    return content


def _size(block: bytes, where: str) -> int:
    """Size in a header, once its magic and its checksum are right."""
    stored = _octal(block[148:156])
    if block[257:262] != b"ustar" or stored != _checksum(block):
        raise ShardError(f"{where}: no tar header, or a damaged one")
    length = _octal(block[124:136])
    if length is None:
        raise ShardError(f"{where}: a size that is not an octal number")
    return length


def _octal(field: bytes) -> int | None:
    digits = field.strip(b" \0")
    return int(digits, 8) if re.fullmatch(b"[0-7]+", digits) else None


def _checksum(block: bytes | bytearray) -> int:
    return sum(block[:148]) + 8 * ord(" ") + sum(block[156:])


def _name(block: bytes, where: str) -> str:
    name, prefix = (block[start:stop].partition(b"\0")[0] for start, stop in ((0, 100), (345, 500)))
    posix = block[257:263] == b"ustar\0"  # GNU keeps something else where the prefix stands
    return _text(prefix + b"/" + name if posix and prefix else name, where)


def _pax_name(content: bytes, where: str) -> str:
    """The path among the records ``LENGTH KEY=VALUE`` of a pax header, or nothing."""
    name = ""
    while content:
        digits = content.partition(b" ")[0]
        length = int(digits) if re.fullmatch(b"[0-9]{1,6}", digits) else 0
        record = content[:length]
        key, equals, value = record[len(digits) + 1 :].partition(b"=")
        if not equals or not record.endswith(b"\n"):
            raise ShardError(f"{where}: a damaged pax header")
        if key in (b"size", b"linkpath") or key.startswith(b"GNU.sparse"):
            raise ShardError(f"{where}: pax records of {key!r} are not supported")
        name = _text(value[:-1], where) if key == b"path" else name
        content = content[length:]
    return name


def _text(raw: bytes, where: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ShardError(f"{where}: the name {raw!r:.200} is not UTF-8") from error


def _refuse_unsafe(name: str, where: str) -> None:
    parts = name.split("/")
    if not name or not name.isprintable() or "\\" in name or ".." in parts or parts[0] == "":
        raise ShardError(f"{where}: {name!r:.200} is not a plain relative path")
