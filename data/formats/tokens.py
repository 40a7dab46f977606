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
Sizes are compared with the file's before memory is taken: nothing can be cut off or added, and what
would cost too much for its size is refused (see `intaglio.data.formats.token_limits`). A CRC
notices every change of a single bit. The last CRC leaves the others out because a CRC over data and
the data's own CRC is the same for all data: it would not notice chunks that changed places.
"""

import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from intaglio.data.formats.entropy import Ids, StaticPrior, decode_chunk
from intaglio.data.formats.packing import chunks, positions_per_chunk, unpack
from intaglio.data.formats.token_frames import UINT, take, take_frame, whole_crc
from intaglio.data.formats.token_header import (
    MAX_HEADER_BYTES,
    Extent,
    TokenFileError,
    TokenHeader,
    checked,
    image_header,
    parse_header,
)
from intaglio.data.formats.token_limits import check_size, largest_chunk, largest_prior
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
SCALE_BYTES = 4
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
    header, blocks = _opened(file, kept=False)
    return header, map(torch.from_numpy, blocks)


def read_tokens(file: BinaryIO) -> tuple[TokenHeader, Tensor]:
    """Header and ids, int64 [positions, groups], of a token file.

    Memory is at most 64 times the size of the file, and some 4 MiB.

    Args:
        file: seekable, at the start of the token file, which must reach to the end.

    Raises:
        TokenFileError: it is truncated, damaged, too long, of a newer version or no token file.
        ModuleNotFoundError: the ids are entropy coded and the ``entropy`` extra is missing.
    """
    header, blocks = _opened(file, kept=True)
    ids, start = np.empty((header.positions, len(header.vocab)), np.int64), 0
    for block in blocks:
        ids[start : start + len(block)] = block
        start += len(block)
    return header, torch.from_numpy(ids)


class _Head(NamedTuple):
    """What stands before the chunks; ``whole`` is the CRC up to there."""

    header: TokenHeader
    prior: bytes
    whole: int


def _read_head(file: BinaryIO, *, kept: bool = False) -> _Head:
    """Everything before the chunks, checked; ``kept`` as in `check_size`."""
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
        scale = take_frame(file, "in its scale", SCALE_BYTES * header.positions)
        prior = take_frame(file, "in its prior", largest_prior(header.vocab))
        if len(scale) % SCALE_BYTES:
            raise TokenFileError(f"damaged in its scale: {len(scale)} bytes")
        header = checked(header._replace(scale=tuple(np.frombuffer(scale, "<f4").tolist())))
        for content in (scale, prior):
            whole = whole_crc(content, whole)
    if (header.coding == "range") != bool(prior):
        raise TokenFileError(f"refused: coding {header.coding} with a prior of {len(prior)} bytes")
    check_size(file, header, kept=kept)
    return _Head(header, prior, whole)


def _opened(file: BinaryIO, *, kept: bool) -> tuple[TokenHeader, Iterator[Ids]]:
    """Header and blocks of ids, as `iter_tokens`; ``kept`` as in `check_size`."""
    head = _read_head(file, kept=kept)
    try:
        prior = StaticPrior.from_bytes(head.prior, head.header.vocab) if head.prior else None
    except ValueError as error:
        raise TokenFileError(f"damaged in its prior: {error}") from error
    return head.header, _blocks(file, head, prior)


def _blocks(file: BinaryIO, head: _Head, prior: StaticPrior | None) -> Iterator[Ids]:
    header, whole, most = head.header, head.whole, largest_chunk(head.header)
    count = -(-header.positions // positions_per_chunk(header.vocab))
    for number, (start, stop) in enumerate(chunks(header.positions, header.vocab), 1):
        where = f"in chunk {number} of {count} (positions {start} to {stop - 1})"
        content = take_frame(file, where, most)
        whole = whole_crc(content, whole)
        try:
            if prior is None:
                ids = unpack(content, stop - start, header.vocab)
            else:
                ids = decode_chunk(content, stop - start, header.vocab, prior)
        except ValueError as error:
            raise TokenFileError(f"damaged {where}: {error}") from error
        yield ids
    if take(file, UINT.size) != UINT.pack(whole):
        raise TokenFileError("damaged: the checksum of the whole does not match; copy it again")
