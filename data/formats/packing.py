"""Bit packing of ids: position by position, group by group, lowest bit first, without gaps.

An id of a codebook of K entries takes ceil(log2 K) bits, but at least one: a codebook of one entry
must not make a few bytes stand for any number of positions. Positions are packed chunk by chunk.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CHUNK_BITS = 1 << 16


def bits_per_position(vocab: tuple[int, ...]) -> int:
    """Whole bits that one position takes."""
    return _layout(vocab).bits


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
    widths = _layout(vocab).widths
    group = np.repeat(np.arange(len(vocab)), widths)
    place = np.concatenate([np.arange(width) for width in widths])  # of each bit within its id
    return np.packbits((ids[:, group] >> place) & 1 != 0, bitorder="little").tobytes()


def unpack(packed: bytes, positions: int, vocab: tuple[int, ...]) -> NDArray[np.int64]:
    """Ids [positions, groups] of ``packed_size(positions, vocab)`` bytes.

    Raises:
        ValueError: another number of bytes, an id outside its codebook, or filling bits that are
            not zero.
    """
    if len(packed) != packed_size(positions, vocab):
        raise ValueError("it has not the size of its positions")
    layout = _layout(vocab)
    if packed and packed[-1] >> 8 - (-positions * layout.bits % 8):
        raise ValueError("the bits behind its ids are not zero")
    # Every id lies within the 8 bytes from the one with its first bit on.
    windows = np.ndarray(len(packed) + 1, "<u8", packed + bytes(8), strides=(1,)).astype(np.int64)
    first = np.arange(positions)[:, None] * layout.bits + layout.first
    ids: NDArray[np.int64] = windows[first >> 3]
    ids >>= first & 7
    ids &= layout.masks
    if (ids >= layout.sizes).any():
        raise ValueError("it holds ids outside their codebooks")
    return ids


class _Layout(NamedTuple):
    """Of one position: its bits, and for each group the width of an id in bits, the place of its
    first bit, ones in all of its bits, and the size of its codebook."""

    bits: int
    widths: NDArray[np.int64]
    first: NDArray[np.int64]
    masks: NDArray[np.int64]
    sizes: NDArray[np.int64]


@lru_cache(maxsize=4)
def _layout(vocab: tuple[int, ...]) -> _Layout:
    widths = np.array([max(1, (size - 1).bit_length()) for size in vocab])
    first = np.cumsum(widths) - widths
    return _Layout(int(widths.sum()), widths, first, (1 << widths) - 1, np.array(vocab))
