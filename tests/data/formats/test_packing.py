"""Bit packing: equal to a bit-by-bit reference, canonical, bounded."""

import numpy as np
import pytest

from intaglio.data.formats.packing import bits_per_position, pack, packed_size, unpack

VOCABS = [(1,), (2,), (3,), (4096,), (6561,), (1, 1, 2), (1000, 3, 65536, 1), (2**32, 2, 2**31 + 1)]
VOCABS += [(2**18,), (2**8,) * 16]


def slow_pack(ids, vocab):
    bits = []
    for row in ids.tolist():
        for value, size in zip(row, vocab, strict=True):
            width = 1
            while 2**width < size:
                width += 1
            bits += [value // 2**place % 2 for place in range(width)]
    bits += [0] * (-len(bits) % 8)
    return bytes(
        sum(bit * 2**place for place, bit in enumerate(bits[start : start + 8]))
        for start in range(0, len(bits), 8)
    )


@pytest.mark.parametrize("vocab", VOCABS)
@pytest.mark.parametrize("positions", [1, 2, 7, 64])
def test_packing_equals_the_slow_reference_and_comes_back(vocab, positions):
    ids = np.random.default_rng(positions).integers(0, vocab, (positions, len(vocab)))
    ids[0] = np.array(vocab) - 1
    packed = pack(ids, vocab)
    assert packed == slow_pack(ids, vocab)
    assert len(packed) == packed_size(positions, vocab)
    assert (unpack(packed, positions, vocab) == ids).all()


def test_widths_at_the_powers_of_two():
    widths = {size: bits_per_position((size,)) for size in (1, 2, 3, 4, 5, 4096, 4097, 2**32)}
    assert widths == {1: 1, 2: 1, 3: 2, 4: 2, 5: 3, 4096: 12, 4097: 13, 2**32: 32}


@pytest.mark.parametrize(("vocab", "value"), [((1,), 1), ((3,), 3), ((6561,), 6561)])
def test_an_id_outside_its_codebook_is_refused(vocab, value):
    with pytest.raises(ValueError, match="outside their codebooks"):
        unpack(slow_pack(np.array([[0], [value]]), vocab), 2, vocab)


def test_filling_bits_must_be_zero():
    packed = bytearray(pack(np.array([[1], [0], [1]]), (2,)))
    packed[0] |= 0x80
    with pytest.raises(ValueError, match="not zero"):
        unpack(bytes(packed), 3, (2,))
