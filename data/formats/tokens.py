"""The token file (``.intaglio``): ids of one item, packed, checksummed, safe to read from anyone.

Layout. Integers are unsigned and little-endian, a CRC is the CRC-32 of zip and PNG.

    8 bytes  magic
    1 byte   version
    4 bytes  size of the header, at most 65,536
    header   JSON in UTF-8: the fields of `TokenHeader`, but its scale
    4 bytes  CRC of everything above; up to here the layout is the same in every version
    frames   one after the other; from version 2 on the first are those of the scale and the prior
        4 bytes  size of the content in bytes
        content  chunk: ids of as many positions as fit, packed, into 65,536 bits, but at least one;
                 the last may be shorter. Scale: float32. Prior: see `intaglio.data.formats.entropy`
        4 bytes  CRC of the size and the content
    4 bytes  CRC of everything above but the other CRCs

Version 1 has packed ids only; a file is written as version 2 if it has a scale or range-coded ids,
and as version 3 if it is of an image, whose header has other fields.
Sizes are compared with the file's before memory is taken: nothing can be cut off or added. A CRC
notices every change of a single bit. The last CRC leaves the others out because a CRC over data and
the data's own CRC is the same for all data: it would not notice chunks that changed places.
"""

import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from intaglio.data.formats.entropy import StaticPrior, decode_chunk
from intaglio.data.formats.packing import chunks, packed_size, positions_per_chunk, unpack
from intaglio.data.formats.token_frames import FRAME_BYTES, UINT, left, take, take_frame, whole_crc
from intaglio.data.formats.token_header import (
    MAX_HEADER_BYTES,
    Extent,
    TokenFileError,
    TokenHeader,
    checked,
    image_header,
    parse_header,
)
from intaglio.data.formats.token_writer import MAGIC, PREAMBLE, TokenWriter

__all__ = [
    "SUFFIX",
    "Extent",
    "TokenFileError",
    "TokenHeader",
    "TokenWriter",
    "image_header",
    "iter_tokens",
    "read_header",
    "read_tokens",
    "write_tokens",
]

VERSION = 3
SUFFIX = ".intaglio"


def write_tokens(file: BinaryIO, header: TokenHeader, ids: Tensor) -> TokenHeader:
    """Write one item at once; gives the header that was written, as `TokenWriter.finish` does.

    Args:
        file: where to write; on failure part of a token file may have been written.
        header: what to say about the ids.
        ids: int64 [positions, groups], each in [0, vocab[group]).

    Raises:
        ValueError: the header or the ids break their contract.
        ModuleNotFoundError: the ``entropy`` extra is wanted and missing.
    """
    with TokenWriter(file, header.vocab) as writer:
        writer.write(ids)
        return writer.finish(header)


def read_header(file: BinaryIO) -> TokenHeader:
    """Header of a token file whose size has been checked, and whose ids have not.

    Args:
        file: seekable, at the start of the token file; left at the first chunk.

    Raises:
        TokenFileError: it is truncated, damaged, too long, of a newer version or no token file.
    """
    return _read_head(file).header


def iter_tokens(file: BinaryIO) -> tuple[TokenHeader, Iterator[Tensor]]:
    """Header of a token file, and its ids block by block, in constant memory.

    Args:
        file: seekable, at the start of the token file, which must reach to the end; it is read
            while the blocks are taken.

    Returns:
        The header, and an iterator of int64 [positions, groups]. A block has been compared with its
        own checksum; that of the whole file is compared after the last.

    Raises:
        TokenFileError: it is truncated, damaged, too long, of a newer version or no token file; the
            iterator raises it too.
        ModuleNotFoundError: the ids are entropy coded and the ``entropy`` extra is missing.
    """
    head = _read_head(file)
    try:
        prior = StaticPrior.from_bytes(head.prior, head.header.vocab) if head.prior else None
    except ValueError as error:
        raise TokenFileError(f"damaged: {error}") from error
    return head.header, _blocks(file, head, prior)


def read_tokens(file: BinaryIO) -> tuple[TokenHeader, Tensor]:
    """Header and ids, int64 [positions, groups], of a token file.

    Memory is at most 64 times the size of the file, 512 times if it is entropy coded.

    Args:
        file: seekable, at the start of the token file, which must reach to the end.

    Raises:
        TokenFileError: it is truncated, damaged, too long, of a newer version or no token file.
        ModuleNotFoundError: the ids are entropy coded and the ``entropy`` extra is missing.
    """
    header, blocks = iter_tokens(file)
    empty = torch.empty(0, len(header.vocab), dtype=torch.int64)
    return header, torch.cat([empty, *blocks])


class _Head(NamedTuple):
    """What stands before the chunks; ``whole`` is the CRC up to there."""

    header: TokenHeader
    prior: bytes
    whole: int


def _read_head(file: BinaryIO) -> _Head:
    magic = file.read(len(MAGIC))
    if not magic:
        raise TokenFileError("truncated: it is empty")
    if not MAGIC.startswith(magic):
        raise TokenFileError("not a token file of intaglio")
    preamble = magic + take(file, PREAMBLE.size - len(magic))
    _, version, size = PREAMBLE.unpack(preamble)
    if size > MAX_HEADER_BYTES:
        raise TokenFileError(
            f"damaged: its header claims {size} bytes, the limit is {MAX_HEADER_BYTES}"
        )
    text = take(file, size)
    whole = zlib.crc32(preamble + text)
    if take(file, UINT.size) != UINT.pack(whole):
        raise TokenFileError("damaged: the checksum of its header does not match; copy it again")
    if version > VERSION:
        raise TokenFileError(
            f"a token file of version {version}, this intaglio reads up to {VERSION}: "
            "upgrade intaglio"
        )
    if version < 1:
        raise TokenFileError(f"a token file of version {version}, which never existed")
    header, prior = parse_header(text), b""
    if (header.modality != "audio") != (version == 3):
        raise TokenFileError(f"refused: modality {header.modality} in a file of version {version}")
    if version > 1:
        scale = take_frame(file, "in its scale")
        prior = take_frame(file, "in its prior")
        if len(scale) % 4:
            raise TokenFileError(f"damaged in its scale: {len(scale)} bytes")
        header = checked(header._replace(scale=tuple(np.frombuffer(scale, "<f4").tolist())))
        for content in (scale, prior):
            whole = whole_crc(content, whole)
    if (header.coding == "range") != bool(prior):
        raise TokenFileError(f"refused: coding {header.coding} with a prior of {len(prior)} bytes")
    _check_size(file, header)
    return _Head(header, prior, whole)


def _check_size(file: BinaryIO, header: TokenHeader) -> None:
    """Refuse a header whose positions take more or fewer bytes than follow."""
    per_chunk = positions_per_chunk(header.vocab)
    full, rest = divmod(header.positions, per_chunk)
    size = left(file)
    if header.coding == "packed":
        due = full * (packed_size(per_chunk, header.vocab) + FRAME_BYTES) + UINT.size
        due += packed_size(rest, header.vocab) + FRAME_BYTES if rest else 0
    else:  # the sizes of the frames lead from one to the next
        due, here = UINT.size, file.tell()
        for _ in range(full + bool(rest)):
            if due + FRAME_BYTES > size:
                due += FRAME_BYTES
                break
            due += FRAME_BYTES + UINT.unpack(take(file, UINT.size))[0]
            file.seek(here + due - UINT.size)
        file.seek(here)
    if size < due:
        raise TokenFileError(
            f"truncated: its {header.positions} positions take {due} bytes or more, only {size} "
            "are there"
        )
    if size > due:
        raise TokenFileError(f"damaged: {size - due} bytes follow its end")


def _blocks(file: BinaryIO, head: _Head, prior: StaticPrior | None) -> Iterator[Tensor]:
    header, whole = head.header, head.whole
    bounds = list(chunks(header.positions, header.vocab))
    for number, (start, stop) in enumerate(bounds, 1):
        where = f"in chunk {number} of {len(bounds)} (positions {start} to {stop - 1})"
        content = take_frame(file, where)
        whole = whole_crc(content, whole)
        try:
            if prior is None:
                ids = unpack(content, stop - start, header.vocab)
            else:
                ids = decode_chunk(content, stop - start, header.vocab, prior)
        except ValueError as error:
            raise TokenFileError(f"damaged {where}: {error}") from error
        yield torch.from_numpy(ids)
    if take(file, UINT.size) != UINT.pack(whole):
        raise TokenFileError("damaged: the checksum of the whole does not match; copy it again")
