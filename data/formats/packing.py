"""Bit packing of ids: position by position, group by group, lowest bit first, without gaps.

An id of a codebook of K entries takes ceil(log2 K) bits, but at least one: a codebook of one entry
must not make a few bytes stand for any number of positions. Positions are packed chunk by chunk.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

CHUNK_BITS = 1 << 16


def bits_per_position(vocab: tuple[int, ...]) -> int:
    """Whole bits that one position takes."""
    return sum(_widths(vocab))


def packed_size(positions: int, vocab: tuple[int, ...]) -> int:
    """Bytes that ``positions`` take."""
    return -(-positions * bits_per_position(vocab) // 8)


def positions_per_chunk(vocab: tuple[int, ...]) -> int:
    """As many positions as fit, packed, into 65,536 bits, but at least one."""
    return max(1, CHUNK_BITS // bits_per_position(vocab))


def chunks(positions: int, vocab: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """First position and the one behind the last of every chunk."""
    step = positions_per_chunk(vocab)
    for start in range(0, positions, step):
        yield start, min(start + step, positions)


def pack(ids: NDArray[np.int64], vocab: tuple[int, ...]) -> bytes:
    """Bytes of ids [positions, groups], each in [0, vocab[group]); zero bits fill the last byte."""
    widths = _widths(vocab)
    group = np.repeat(np.arange(len(vocab)), widths)
    return np.packbits((ids[:, group] >> _shifts(widths)) & 1 != 0, bitorder="little").tobytes()


def unpack(packed: bytes, positions: int, vocab: tuple[int, ...]) -> NDArray[np.int64]:
    """Ids [positions, groups] of ``packed_size(positions, vocab)`` bytes.

    Raises:
        ValueError: another number of bytes, an id outside its codebook, or filling bits that are
            not zero.
    """
    if len(packed) != packed_size(positions, vocab):
        raise ValueError("it has not the size of its positions")
    widths = _widths(vocab)
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")
    used = positions * sum(widths)
    if bits[used:].any():
        raise ValueError("the bits behind its ids are not zero")
    weighted = bits[:used].reshape(positions, -1).astype(np.int64) << _shifts(widths)
    first = np.cumsum([0, *widths[:-1]])
    ids: NDArray[np.int64] = np.add.reduceat(weighted, first, axis=1)
    if (ids >= np.array(vocab)).any():
        raise ValueError("it holds ids outside their codebooks")
    return ids


def _widths(vocab: tuple[int, ...]) -> list[int]:
    return [max(1, (size - 1).bit_length()) for size in vocab]


def _shifts(widths: list[int]) -> NDArray[np.int64]:
    """Place of each bit of a position within its id."""
    return np.concatenate([np.arange(width) for width in widths])
