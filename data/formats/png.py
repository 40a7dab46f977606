"""Chunks of a PNG file: the checksum of each, and the metadata without the pixels.

Pillow checks neither the CRC-32 of chunks with pixels nor that a file goes on to its IEND chunk.
Its reader of Exif data decodes the pixels first, because that chunk may follow them.
"""

import io
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BLOCK = 1 << 20  # bytes read at once
FREE_CHUNKS = 4096  # and one more for each CHUNK_BYTES of the file
CHUNK_BYTES = 1024
MAX_METADATA = 1 << 24  # bytes of a file, outside the chunks of pixels, that are looked at
TEXTS = (b"zTXt", b"iTXt")  # a MiB each, as Pillow unpacks them
MAX_TEXTS = 16
PIXELS = (b"IDAT", b"fdAT", b"fcTL", b"acTL")  # of the image and of an animation


class Chunk(NamedTuple):
    """Name, and position and length of the content in the file."""

    name: bytes
    start: int
    length: int


def is_png(file: IO[bytes]) -> bool:
    """Whether an open file begins as a PNG."""
    file.seek(0)
    return file.read(len(SIGNATURE)) == SIGNATURE


def chunks(file: IO[bytes]) -> Iterator[Chunk]:
    """Chunks of an open file, to its IEND.

    Raises:
        ValueError: no PNG, the end is missing, or chunks are so small that there are too many.
    """
    if not is_png(file):
        raise ValueError("a wrong signature")
    end = file.seek(0, io.SEEK_END)
    position, name, count = len(SIGNATURE), b"", 0
    while name != b"IEND":
        count += 1
        if count > FREE_CHUNKS + position // CHUNK_BYTES:
            raise ValueError(f"it has more than {count - 1} chunks in {position} bytes")
        file.seek(position)
        head = file.read(8)
        length, name, start = int.from_bytes(head[:4], "big"), head[4:], position + 8
        position = start + length + 4
        if len(head) < 8 or position > end:
            raise ValueError("it is truncated")
        yield Chunk(name, start, length)


def check_chunks(file: IO[bytes]) -> None:
    """Look at the names and sizes of all chunks.

    Raises:
        ValueError: the file is truncated, or has too many chunks or compressed texts.
    """
    texts = sum(name in TEXTS for name, _, _ in chunks(file))
    if texts > MAX_TEXTS:
        raise ValueError(f"it has {texts} compressed texts; the limit is {MAX_TEXTS}")


def check_checksums(file: IO[bytes]) -> None:
    """Compare the CRC-32 of every chunk, block by block.

    Raises:
        ValueError: one differs, or the file is truncated.
    """
    for name, start, length in chunks(file):
        file.seek(start)
        crc, left = zlib.crc32(name), length
        while left:
            block = file.read(min(BLOCK, left))
            if not block:
                raise ValueError("it is truncated")
            crc, left = zlib.crc32(block, crc), left - len(block)
        if file.read(4) != crc.to_bytes(4, "big"):
            raise ValueError(
                f"a wrong checksum in chunk {name.decode('ascii', 'backslashreplace')}"
            )


def without_pixels(file: IO[bytes]) -> bytes:
    """The same file with an empty chunk of pixels after all others.

    Raises:
        ValueError: the file is truncated, or has more than `MAX_METADATA` bytes of metadata.
    """
    kept, size = [SIGNATURE], 0
    for name, start, length in chunks(file):
        if name in PIXELS or name == b"IEND":
            continue
        size += length + 12
        if size > MAX_METADATA:
            raise ValueError(f"it has more than {MAX_METADATA} bytes of metadata")
        file.seek(start - 8)
        kept.append(file.read(length + 12))
    for name in (b"IDAT", b"IEND"):
        kept.append(bytes(4) + name + zlib.crc32(name).to_bytes(4, "big"))
    return b"".join(kept)
