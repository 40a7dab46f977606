"""What reading a token file may cost, decided from its header and size before memory is taken.

A packed id takes a bit or more of the file and 8 bytes of memory, so that packed files cost at most
64 times their size. Range-coded ids may take next to nothing, and each entry of a codebook costs
memory and time even if it is never used: both are held to the size of the file here. Where a file
is small, a fixed amount is free.
"""

import os
from typing import IO

from intaglio.data.formats.entropy import (
    CLASSES,
    IDS_PER_WORD,
    MAX_ENTRIES,
    least_bytes,
    most_bytes,
)
from intaglio.data.formats.packing import packed_size, positions_per_chunk
from intaglio.data.formats.token_frames import FRAME_BYTES, UINT, left, take
from intaglio.data.formats.token_header import TokenFileError, TokenHeader

MEMORY = 64  # bytes for every byte of the file
FREE_MEMORY = 1 << 21
ID_MEMORY = 8
ENTRY_MEMORY = 32  # of a codebook, while its distribution is built
IDS_PER_BYTE = 2  # range-coded
FREE_IDS = 1 << 21
BYTES_PER_CALL = 32  # of the coder, which is called once for each group of a chunk
FREE_CALLS = 1 << 16
SMALL = 1 << 17  # ids of a file whose chunks may be as short as the coder makes them


def ids_per_word(ids: int) -> int:
    """Most ids of a word that a chunk is written with, in a file of so many ids."""
    return IDS_PER_WORD if ids <= SMALL else UINT.size * IDS_PER_BYTE


def costs_too_much(header: TokenHeader, size: int, *, kept: bool) -> str | None:
    """Why a file of ``size`` bytes costs too much to read, or None.

    Args:
        header: what it says.
        size: bytes of the file.
        kept: whether all ids are kept in memory; otherwise they come chunk by chunk.
    """
    if header.coding == "packed":
        return None
    groups, entries = len(header.vocab), sum(header.vocab)
    if entries > MAX_ENTRIES:
        return f"{entries} entries are too many for a prior"
    ids = header.positions * groups
    if ids > max(FREE_IDS, IDS_PER_BYTE * size):
        return f"{ids} range-coded ids are too many for {size} bytes"
    calls = -(-header.positions // positions_per_chunk(header.vocab)) * groups
    if calls > max(FREE_CALLS, size // BYTES_PER_CALL):
        return f"{groups} range-coded groups are too many for {size} bytes"
    memory = ENTRY_MEMORY * entries + ID_MEMORY * ids * kept
    if memory > max(FREE_MEMORY, MEMORY * size):
        return (
            f"a file of {size} bytes with {entries} codebook entries and {ids} ids takes about "
            f"{memory} bytes of memory to read, more than {MEMORY} times its size"
        )
    return None


def check_size(file: IO[bytes], header: TokenHeader, *, kept: bool) -> None:
    """Compare the bytes that follow the header, scale and prior with what the positions take.

    Args:
        file: at its first chunk, and left there.
        header: what it says.
        kept: as in `costs_too_much`.

    Raises:
        TokenFileError: they are more or fewer, or reading them would cost too much.
    """
    here, size = file.tell(), left(file)
    per_chunk = positions_per_chunk(header.vocab)
    full, rest = divmod(header.positions, per_chunk)
    due = UINT.size + full * (_least(per_chunk, header) + FRAME_BYTES)
    due += _least(rest, header) + FRAME_BYTES if rest else 0
    if size >= due and header.coding == "range":
        if fault := costs_too_much(header, here + size, kept=kept):
            raise TokenFileError(f"refused: {fault}")
        due = _walk(file, full + bool(rest), size)
        file.seek(here)
    if size < due:
        raise TokenFileError(
            f"truncated: its {header.positions} positions take {due} bytes or more, only {size} "
            "are there"
        )
    if size > due:
        raise TokenFileError(f"damaged: {size - due} bytes follow its end")


def largest_chunk(header: TokenHeader) -> int:
    """Bytes that the content of a chunk has at most."""
    positions = positions_per_chunk(header.vocab)
    if header.coding == "packed":
        return packed_size(positions, header.vocab)
    return most_bytes(positions * len(header.vocab))


def largest_prior(vocab: tuple[int, ...]) -> int:
    """Bytes that the content of the prior has at most."""
    return 1 + CLASSES + most_bytes(sum(vocab))


def _least(positions: int, header: TokenHeader) -> int:
    """Bytes that the content of a chunk has at least."""
    if header.coding == "packed":
        return packed_size(positions, header.vocab)
    return least_bytes(positions * len(header.vocab))


def _walk(file: IO[bytes], frames: int, size: int) -> int:
    """Bytes of frames and the last checksum; the sizes of the frames lead from one to the next."""
    due = UINT.size
    for _ in range(frames):
        if due + FRAME_BYTES > size:
            return due + FRAME_BYTES
        (content,) = UINT.unpack(take(file, UINT.size))
        due += FRAME_BYTES + content
        file.seek(content + UINT.size, os.SEEK_CUR)
    return due
