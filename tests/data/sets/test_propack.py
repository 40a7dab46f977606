"""What is packed unpacks to itself; what is damaged, cut or hostile is refused in one line."""

import random
import tracemalloc

import pytest

from intaglio.data.sets.propack import crc16, unpack, unpacked_size

LIMIT = 1 << 20
EVEN = (4,) * 16
SKEW = (*range(1, 16), 15)  # its longest words take more than 16 bits with their numbers


@pytest.mark.parametrize("lengths", [EVEN, SKEW, SKEW[::-1]])
def test_literals_and_matches_are_joined(packer, lengths):
    made, draw = packer(lengths), random.Random(0)
    made.block((b"one literal", 0, 0))
    for _ in range(5):
        pairs = []
        for _ in range(draw.randint(1, 6)):
            literal = draw.randbytes(draw.choice((0, 1, 2, 3, 7, 300)))
            length = draw.choice((2, 3, 4, 9, 40, 1_000))
            pairs.append((literal, draw.randint(1, len(made.unpacked)), length))
        made.block(*pairs)
    made.block((bytes(9_000), 9_000, 9_000), (b"end", 0, 0))
    packed = made.packed()
    assert unpacked_size(packed) == len(made.unpacked) > 18_000
    assert unpack(packed, LIMIT) == unpack(packed + b"more", LIMIT) == made.unpacked


def test_crc_is_that_of_arc(packer):
    assert crc16(b"123456789") == 0xBB3D  # the published check value
    draw = random.Random(0)
    for length in (*range(40), 255, 256, 257, 1_001):
        content = draw.randbytes(length)
        assert crc16(content) == packer.crc(content)


def small(packer):
    made = packer()
    made.block((b"hello", 5, 12), (b"", 1, 30), (b"world", 0, 0))
    return made


def test_every_damage_is_noticed(packer):
    made = small(packer)
    packed = made.packed()
    for length in range(len(packed)):
        with pytest.raises(ValueError, match="cut|not packed"):
            unpack(packed[:length], LIMIT)
    for at in range(len(packed)):
        damaged = bytearray(packed)
        damaged[at] ^= 1 << at % 8
        if at == 16:  # a distance that is of use to the game alone
            assert unpack(bytes(damaged), LIMIT) == made.unpacked
        else:
            with pytest.raises(ValueError, match=r"cut|not packed|damaged|more than"):
                unpack(bytes(damaged), LIMIT)


def test_random_bytes_with_right_checksums_end_in_one_line(packer):
    draw = random.Random(0)
    for number in range(100):
        made = small(packer)
        if number % 2:
            made.body[draw.randrange(16)] = draw.randrange(256)
        else:
            made.body[:] = draw.randbytes(draw.randrange(200))
        made.blocks = draw.choice((1, 255))
        with pytest.raises(ValueError, match=r"^damaged: [^\n]+$"):
            unpack(made.packed(size=draw.choice((0, 60, LIMIT))), LIMIT)


def test_what_is_impossible_is_named(packer):
    made = small(packer)
    with pytest.raises(ValueError, match="52 unpacked bytes, more than 51"):
        unpack(made.packed(), 51)
    with pytest.raises(ValueError, match=r"4,294,967,295 unpacked bytes, more than 1,048,576"):
        unpack(made.packed(size=0xFFFF_FFFF), LIMIT)
    with pytest.raises(ValueError, match="wrong size or CRC"):
        unpack(made.packed(size=53), LIMIT)
    for lengths, message in (
        ((1, 1, 1), "a code of too many words"),
        ((4,) * 17, "a code of 17 symbols"),
        ((2, 0), "no word of their code"),
        ((), "no word of their code"),
    ):
        made = packer(lengths)
        made.codes(pairs=1)
        made.put(0xFFFF, 16)
        with pytest.raises(ValueError, match=message):
            unpack(made.packed(), LIMIT)
    made = packer()
    made.block((b"a", 1, 2), (b"", 0, 0))
    made.block((b"", 5, 2), (b"", 0, 0))
    with pytest.raises(ValueError, match="outside the unpacked bytes"):
        unpack(made.packed(), LIMIT)


def test_no_more_is_unpacked_than_is_stated(packer):
    made = packer(SKEW)
    made.codes(pairs=0xFFFF)
    made.number(1)
    made.body += b"a"
    for number in (0, 16_000, 0) * 100:  # a match of 16,002 bytes, and no literal
        made.number(number)
    tracemalloc.start()
    with pytest.raises(ValueError, match="outside the unpacked bytes"):
        unpack(made.packed(size=100_000), LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_many_blocks_of_nothing_end_with_the_bytes(packer):
    made = packer((1, 1))
    made.codes(pairs=0xFFFF)
    made.body += bytes(1_000)
    made.blocks = 255
    with pytest.raises(ValueError, match="too early|outside"):
        unpack(made.packed(size=LIMIT), LIMIT)
