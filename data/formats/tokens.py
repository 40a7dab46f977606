"""The token file (``.intaglio``): ids of one item, packed, checksummed, safe to read from anyone.

Layout of version 1. Integers are unsigned and little-endian, a CRC is the CRC-32 of zip and PNG.

    8 bytes  magic
    1 byte   version
    4 bytes  size of the header, at most 65,536
    header   JSON in UTF-8: the fields of `TokenHeader`
    4 bytes  CRC of everything above; up to here the layout is the same in every version
    chunks   of as many positions as fit into 65,536 bits, but at least one; the last may be shorter
        4 bytes  size of the ids in bytes
        ids      as `intaglio.data.formats.packing` packs them
        4 bytes  CRC of the size and the ids
    4 bytes  CRC of everything above but the other CRCs

The header and the number of positions fix the size of a file, so nothing can be cut off or added; a
CRC notices every change of a single bit. The last CRC leaves the others out because a CRC over data
and the data's own CRC is the same for all data: it would not notice chunks that changed places.
"""

import json
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from intaglio.data.formats.packing import bits_per_position, pack, packed_size, unpack

MAGIC = b"\x89ITG\r\n\x1a\n"
VERSION = 1
SUFFIX = ".intaglio"
MAX_HEADER_BYTES = 1 << 16
MAX_GROUPS = 4096
MAX_CODEBOOK = 1 << 32
CHUNK_BITS = 1 << 16

_PREAMBLE = struct.Struct("<8sBI")
_UINT = struct.Struct("<I")
_RANGES = {  # no allocation depends on these alone; they only keep nonsense out
    "positions": (0, 1 << 53),
    "sample_rate": (1, 1_000_000),
    "hop_length": (1, 1_000_000),
    "channels": (1, 1024),
    "length": (0, 1 << 53),
}


class TokenFileError(ValueError):
    """A file that is damaged, truncated, of a newer version or no token file at all."""


class TokenHeader(NamedTuple):
    """What a token file says about its ids.

    Attributes:
        codec: name of the codec, for people; 1 to 200 printable characters.
        fingerprint: fingerprint of the codec that made and decodes the ids, 32 hexadecimal digits.
        vocab: codebook size of each group, 1 to 2^32 each.
        positions: number of positions.
        sample_rate: samples per second of the codec.
        hop_length: samples per position.
        channels: channels of the waveform.
        length: samples per channel at ``sample_rate``; they fit into the positions.
        extras: further plain JSON data, free for the writer.
        modality: "audio".
        coding: how the chunks hold the ids; "packed".
    """

    codec: str
    fingerprint: str
    vocab: tuple[int, ...]
    positions: int
    sample_rate: int
    hop_length: int
    channels: int
    length: int
    extras: dict[str, Any]
    modality: str = "audio"
    coding: str = "packed"


def write_tokens(file: BinaryIO, header: TokenHeader, ids: Tensor) -> None:
    """Write one item.

    Args:
        file: where to write; on failure part of a file may have been written.
        header: what to say about the ids.
        ids: int64 [positions, groups], each in [0, vocab[group]).

    Raises:
        ValueError: the header or the ids break their contract.
    """
    fault = _fault(header)
    if fault:
        raise ValueError(f"cannot write such a token file: {fault}")
    shape = (header.positions, len(header.vocab))
    if ids.dtype != torch.int64 or tuple(ids.shape) != shape:
        raise ValueError(f"ids must be int64 {list(shape)}, got {ids.dtype} {list(ids.shape)}")
    values = ids.cpu().numpy()
    sizes = np.array(header.vocab)
    if ((values < 0) | (values >= sizes)).any():
        raise ValueError(f"ids lie outside their codebooks of {header.vocab} entries")
    text = json.dumps(header._asdict(), allow_nan=False, separators=(",", ":")).encode()
    if len(text) > MAX_HEADER_BYTES:
        raise ValueError(f"the header takes {len(text)} bytes, more than {MAX_HEADER_BYTES}")
    whole = _write_checked(file, _PREAMBLE.pack(MAGIC, VERSION, len(text)) + text, 0)
    for start, stop in _chunks(header):
        packed = pack(values[start:stop], header.vocab)
        whole = _write_checked(file, _UINT.pack(len(packed)) + packed, whole)
    file.write(_UINT.pack(whole))


def read_header(file: BinaryIO) -> TokenHeader:
    """Header of a token file whose size has been checked, and whose ids have not.

    Args:
        file: seekable, at the start of the token file; left at the first chunk.

    Raises:
        TokenFileError: it is truncated, damaged, too long, of a newer version or no token file.
    """
    return _read_head(file)[0]


def read_tokens(file: BinaryIO) -> tuple[TokenHeader, Tensor]:
    """Header and ids, int64 [positions, groups], of a token file; memory at most 64 times its size.

    Args:
        file: seekable, at the start of the token file, which must reach to the end.

    Raises:
        TokenFileError: it is truncated, damaged, too long, of a newer version or no token file.
    """
    header, whole = _read_head(file)
    ids = np.empty((header.positions, len(header.vocab)), np.int64)
    chunks = list(_chunks(header))
    for number, (start, stop) in enumerate(chunks, 1):
        where = f"damaged in chunk {number} of {len(chunks)} (positions {start} to {stop - 1})"
        size = packed_size(stop - start, header.vocab)
        content = _take(file, _UINT.size + size)
        if _take(file, _UINT.size) != _UINT.pack(zlib.crc32(content)):
            raise TokenFileError(f"{where}: its checksum does not match; copy it again")
        if content[: _UINT.size] != _UINT.pack(size):
            raise TokenFileError(f"{where}: it has not the size of its positions")
        whole = zlib.crc32(content, whole)
        try:
            ids[start:stop] = unpack(content[_UINT.size :], stop - start, header.vocab)
        except ValueError as error:
            raise TokenFileError(f"{where}: {error}") from error
    if _take(file, _UINT.size) != _UINT.pack(whole):
        raise TokenFileError("damaged: the checksum of the whole does not match; copy it again")
    return header, torch.from_numpy(ids)


def _read_head(file: BinaryIO) -> tuple[TokenHeader, int]:
    """Header, and the CRC of the file up to its end."""
    magic = file.read(len(MAGIC))
    if not magic:
        raise TokenFileError("truncated: it is empty")
    if not MAGIC.startswith(magic):
        raise TokenFileError("not a token file of intaglio")
    preamble = magic + _take(file, _PREAMBLE.size - len(magic))
    _, version, size = _PREAMBLE.unpack(preamble)
    if size > MAX_HEADER_BYTES:
        raise TokenFileError(
            f"damaged: its header claims {size} bytes, the limit is {MAX_HEADER_BYTES}"
        )
    text = _take(file, size)
    whole = zlib.crc32(preamble + text)
    if _take(file, _UINT.size) != _UINT.pack(whole):
        raise TokenFileError("damaged: the checksum of its header does not match; copy it again")
    if version > VERSION:
        raise TokenFileError(
            f"a token file of version {version}, this intaglio reads up to {VERSION}: "
            "upgrade intaglio"
        )
    if version < 1:
        raise TokenFileError(f"a token file of version {version}, which never existed")
    header = _parse(text)
    here = file.tell()
    left = file.seek(0, 2) - here
    file.seek(here)
    _check_size(header, left)
    return header, whole


def _parse(text: bytes) -> TokenHeader:
    try:
        fields = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise TokenFileError("damaged: its header is not valid JSON") from error
    if not isinstance(fields, dict) or set(fields) != set(TokenHeader._fields):
        raise TokenFileError("damaged: its header has not the fields of a token file")
    if isinstance(fields["vocab"], list):
        fields["vocab"] = tuple(fields["vocab"])
    header = TokenHeader(**fields)
    fault = _fault(header)
    if fault:
        raise TokenFileError(f"refused: {fault}")
    return header


def _fault(header: TokenHeader) -> str | None:
    """What is wrong with a header, or None. Types are not to be trusted."""
    if header.modality != "audio" or header.coding != "packed":
        return (
            f"modality {header.modality!r:.40} with coding {header.coding!r:.40} is unknown here; "
            "if the file is sound, upgrade intaglio"
        )
    name = header.codec
    if not isinstance(name, str) or not 1 <= len(name) <= 200 or not name.isprintable():
        return "the name of the codec must have 1 to 200 printable characters"
    digits = header.fingerprint
    if not isinstance(digits, str) or not re.fullmatch("[0-9a-f]{32}", digits):
        return f"the fingerprint must have 32 hexadecimal digits, got {digits!r:.40}"
    if not isinstance(header.vocab, tuple) or not 1 <= len(header.vocab) <= MAX_GROUPS:
        return f"vocab must list 1 to {MAX_GROUPS} codebooks"
    if not all(type(size) is int and 1 <= size <= MAX_CODEBOOK for size in header.vocab):
        return f"a codebook has 1 to {MAX_CODEBOOK} entries"
    for name, (low, high) in _RANGES.items():
        value = getattr(header, name)
        if type(value) is not int or not low <= value <= high:
            return f"{name} must be an integer in [{low}, {high}], got {value!r:.40}"
    if header.length > header.positions * header.hop_length:
        return (
            f"{header.length} samples do not fit into {header.positions} positions of "
            f"{header.hop_length}"
        )
    return None if isinstance(header.extras, dict) else "extras must be a JSON object"


def _check_size(header: TokenHeader, left: int) -> None:
    """Refuse a header whose positions take more or fewer than the ``left`` bytes behind it."""
    per_chunk = _positions_per_chunk(header.vocab)
    full, rest = divmod(header.positions, per_chunk)
    due = full * (packed_size(per_chunk, header.vocab) + 2 * _UINT.size) + _UINT.size
    if rest:
        due += packed_size(rest, header.vocab) + 2 * _UINT.size
    if left < due:
        raise TokenFileError(
            f"truncated: its {header.positions} positions take {due} bytes, only {left} are there"
        )
    if left > due:
        raise TokenFileError(f"damaged: {left - due} bytes follow its end")


def _chunks(header: TokenHeader) -> Iterator[tuple[int, int]]:
    """First position and the one behind the last of every chunk."""
    per_chunk = _positions_per_chunk(header.vocab)
    for start in range(0, header.positions, per_chunk):
        yield start, min(start + per_chunk, header.positions)


def _positions_per_chunk(vocab: tuple[int, ...]) -> int:
    return max(1, CHUNK_BITS // bits_per_position(vocab))


def _write_checked(file: BinaryIO, content: bytes, whole: int) -> int:
    """Write ``content`` and its CRC; give the CRC of the file so far."""
    file.write(content + _UINT.pack(zlib.crc32(content)))
    return zlib.crc32(content, whole)


def _take(file: BinaryIO, size: int) -> bytes:
    content = file.read(size)
    if len(content) < size:
        raise TokenFileError("truncated: it ends too early")
    return content
