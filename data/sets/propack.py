"""Unpacks RNC ProPack, method 1 (Rob Northen, 1991), which many games of that time are packed with.

The method is LZ77 with Huffman codes. A block begins with three codes: of the lengths of literals,
of distances, and of the lengths of matches, each given by the lengths of its words. Then literals
and matches alternate; a literal is the last. Symbols 0 and 1 stand for themselves, and symbol s for
the number that in binary is a one and the s - 1 bits after the word.

Bits are taken from 16-bit words (little endian), the lowest first, and a word is read when its
first bit is needed. Literals lie among these words as plain bytes, wherever reading has come to.
The packed and the unpacked bytes have a CRC-16 each.
"""

import struct
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAGIC = b"RNC\x01"
HEADER = struct.Struct(">4sIIHHBB")  # magic, sizes and CRCs of both, a distance, number of blocks
MOST_SYMBOLS = 16
POLYNOMIAL = 0xA001  # of CRC-16/ARC, reflected
NO_WORD = 99  # bits of what is no word of a code: more than any word has


class _Code(NamedTuple):
    """What the next bits mean, by as many of them as the longest word has.

    Entries are the bits of a word and of the number after it, those of the word alone, the mask of
    the number, and what is added to it.
    """

    entries: list[tuple[int, int, int, int]]
    mask: int


class _Bits:
    """Place in the packed bytes: ``spare`` holds the ``count`` bits that are left of a word."""

    def __init__(self, packed: bytes) -> None:
        self.packed = packed
        ahead = np.frombuffer(packed + b"\0\0\0", np.uint8).astype(np.uint16)
        words: NDArray[np.uint16] = np.bitwise_or(ahead[:-1], ahead[1:] << 8, dtype=np.uint16)
        self.words = words.data  # the one at each byte
        self.at = 0
        self.spare = 0
        self.count = 0

    def take(self, count: int) -> int:
        """The number in the next ``count`` bits, at most 16."""
        if count > self.count:
            self.spare |= self.words[self.at] << self.count
            self.at += 2
            self.count += 16
        number = self.spare & ((1 << count) - 1)
        self.spare >>= count
        self.count -= count
        return number

    def number(self, code: _Code) -> int:
        """The number that the next word of a code says, with the bits after it.

        Raises:
            ValueError: no word of the code comes next.
        """
        spare, count = self.spare, self.count
        ahead = spare | self.words[self.at] << count
        both, word, mask, base = code.entries[ahead & code.mask]
        while both > count:  # twice for the few that are longer than a word of 16 bits
            if both == NO_WORD:
                raise ValueError("damaged: bits that are no word of their code")
            spare |= self.words[self.at] << count
            self.at, count = self.at + 2, count + 16
            ahead = spare
        self.spare, self.count = spare >> both, count - both
        return base + (ahead >> word & mask)


def unpacked_size(packed: bytes) -> int:
    """Number of unpacked bytes, as the header states it.

    Raises:
        ValueError: the bytes are not packed by this method, or end too early.
    """
    if len(packed) < HEADER.size or not packed.startswith(MAGIC):
        raise ValueError("not packed by RNC ProPack, method 1")
    return int(HEADER.unpack_from(packed)[1])


def unpack(packed: bytes, limit: int) -> bytes:
    """The unpacked bytes.

    Takes time and memory in proportion to ``packed`` and to the size that it states, whatever else
    is in it.

    Args:
        packed: from the header on; what follows the packed bytes does not count.
        limit: bytes that the result may have.

    Raises:
        ValueError: the bytes are not packed by this method, damaged, cut, or too many.
    """
    size = unpacked_size(packed)
    _, _, length, crc, packed_crc, _, blocks = HEADER.unpack_from(packed)
    if size > limit:
        raise ValueError(f"{size:,} unpacked bytes, more than {limit:,}")
    body = packed[HEADER.size : HEADER.size + length]
    if len(body) < length:
        raise ValueError(f"cut: {len(body):,} of {length:,} packed bytes")
    if crc16(body) != packed_crc:
        raise ValueError("damaged: the CRC of the packed bytes is wrong")
    bits, content = _Bits(body), bytearray()
    try:
        bits.take(2)  # whether the file is locked, and encrypted
        for _ in range(blocks):
            _unpack_block(bits, content, size)
    except IndexError:
        raise ValueError("damaged: the packed bytes end too early") from None
    if len(content) != size or crc16(content) != crc:
        raise ValueError("damaged: the unpacked bytes have a wrong size or CRC")
    return bytes(content)


def crc16(content: bytes | bytearray) -> int:
    """CRC-16/ARC of some bytes.

    The CRC does not change if the first half of the 16-bit words, each multiplied by the power of x
    that it is ahead, is added to the second half. That is done until one word is left.
    """
    length = max(len(content) + 1 >> 1, 1)
    doublings = (length - 1).bit_length()
    words = np.frombuffer(bytes((2 << doublings) - len(content)) + content, "<u2")
    for doubling in reversed(range(doublings)):
        half = 1 << doubling
        words = _ahead(doubling)[words[:half]] ^ words[half:]
    return int(_ahead(0)[words[0]])


@cache
def _ahead(doubling: int) -> NDArray[np.uint16]:
    """Each polynomial of 16 bits times x to the power of ``16 << doubling``, modulo the CRC's."""
    if doubling:
        before = _ahead(doubling - 1)
        return before[before]
    product = np.arange(1 << 16, dtype=np.uint16)
    for _ in range(16):
        product = np.bitwise_xor(product >> 1, POLYNOMIAL * (product & 1), dtype=np.uint16)
    return product


def _read_code(bits: _Bits) -> _Code:
    """The canonical Huffman code of the lengths that are written next."""
    symbols = bits.take(5)
    if symbols > MOST_SYMBOLS:
        raise ValueError(f"damaged: a code of {symbols} symbols")
    lengths = [bits.take(4) for _ in range(symbols)]
    longest = max(lengths, default=0)
    entries = [(NO_WORD, 0, 0, 0)] * (1 << longest)
    word = 0
    for length in range(1, longest + 1):
        for symbol in (symbol for symbol in range(symbols) if lengths[symbol] == length):
            if word >> length:
                raise ValueError("damaged: a code of too many words")
            start = int(f"{word:0{length}b}"[::-1], 2)
            more = max(symbol - 1, 0)
            entry = (length + more, length, (1 << more) - 1, 1 << more if symbol > 1 else symbol)
            entries[start :: 1 << length] = [entry] * (1 << longest - length)
            word += 1
        word <<= 1
    return _Code(entries, (1 << longest) - 1)


def _unpack_block(bits: _Bits, content: bytearray, size: int) -> None:
    """Append what a block holds."""
    runs, distances, lengths = (_read_code(bits) for _ in range(3))
    packed, number = bits.packed, bits.number
    for left in range(bits.take(16) - 1, -1, -1):
        if run := number(runs):
            content += packed[bits.at : bits.at + run]
            bits.at += run
        if not left:
            break
        distance, length = number(distances) + 1, number(lengths) + 2
        start = len(content) - distance
        if start < 0 or len(content) + length > size:
            raise ValueError("damaged: a match outside the unpacked bytes")
        if distance >= length:
            content += content[start : start + length]
        else:
            content += (content[start:] * (length // distance + 1))[:length]
