"""Frames: pieces of a token file that carry their size and a checksum.

Integers are unsigned, of 4 bytes, little-endian; a CRC is the CRC-32 of zip and PNG.
"""

import os
import struct
import zlib
from typing import IO

from intaglio.data.formats.token_header import TokenFileError

UINT = struct.Struct("<I")
FRAME_BYTES = 2 * UINT.size  # of an empty frame


def frame(content: bytes) -> bytes:
    """Size, content, and the CRC of both."""
    framed = UINT.pack(len(content)) + content
    return framed + UINT.pack(zlib.crc32(framed))


def whole_crc(content: bytes, before: int) -> int:
    """CRC of a file up to the end of a frame, but without the frame's own CRC."""
    return zlib.crc32(content, zlib.crc32(UINT.pack(len(content)), before))


def take_frame(file: IO[bytes], where: str, most: int) -> bytes:
    """Content of the frame that begins here.

    Args:
        file: at the frame.
        where: names it in messages.
        most: bytes that it may have.

    Raises:
        TokenFileError: it is truncated, damaged or larger.
    """
    size = take(file, UINT.size)
    (count,) = UINT.unpack(size)
    if count + UINT.size > left(file):
        raise TokenFileError(f"truncated or damaged {where}: {count} bytes are not there")
    if count > most:
        raise TokenFileError(f"damaged {where}: it has {count} bytes, and can have {most} at most")
    content = take(file, count)
    if take(file, UINT.size) != UINT.pack(zlib.crc32(content, zlib.crc32(size))):
        raise TokenFileError(f"damaged {where}: its checksum does not match; copy it again")
    return content


def take(file: IO[bytes], size: int) -> bytes:
    """The next ``size`` bytes.

    Raises:
        TokenFileError: there are fewer.
    """
    content = file.read(size)
    if len(content) < size:
        raise TokenFileError("truncated: it ends too early")
    return content


def left(file: IO[bytes]) -> int:
    """Bytes from here to the end of a seekable file."""
    here = file.tell()
    count = file.seek(0, os.SEEK_END) - here
    file.seek(here)
    return count
