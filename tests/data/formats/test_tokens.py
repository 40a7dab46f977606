"""The token file: round trips, streams, every kind of damage, lies, golden bytes."""

import io
import json
import math
import struct
import tracemalloc
import zlib

import pytest
import torch

from intaglio.data.formats import packing
from intaglio.data.formats.tokens import (
    MAGIC,
    Extent,
    TokenFileError,
    TokenHeader,
    TokenWriter,
    image_header,
    iter_tokens,
    read_header,
    read_tokens,
    write_tokens,
)

GOLDEN = (
    "894954470d0a1a0a01040100007b22636f646563223a22676f6c64656e222c2266696e6765727072696e74223a22"
    "3031323334353637383961626364656630313233343536373839616263646566222c22766f636162223a5b313030"
    "302c312c363536315d2c22706f736974696f6e73223a392c2273616d706c655f72617465223a31363030302c2268"
    "6f705f6c656e677468223a3332302c226368616e6e656c73223a312c226c656e677468223a323730302c22657874"
    "726173223a7b22736f75726365223a7b2273616d706c655f72617465223a34343130302c226c656e677468223a37"
    "3434317d7d2c226d6f64616c697479223a22617564696f222c22636f64696e67223a227061636b6564227d81875b"
    "e61b0000002cd0a5ef806da5fb8ff8ca74c333827b990bab59a5f76116f159ace18929ea2c2c7001"
)
GOLDEN_2 = (
    "894954470d0a1a0a02d00000007b22636f646563223a22636f646563222c2266696e6765727072696e74223a2230"
    "66306630663066306630663066306630663066306630663066306630663066222c22766f636162223a5b345d2c22"
    "706f736974696f6e73223a3430302c2273616d706c655f72617465223a31363030302c22686f705f6c656e677468"
    "223a3332302c226368616e6e656c73223a312c226c656e677468223a3132383030302c22657874726173223a7b7d"
    "2c226d6f64616c697479223a22617564696f222c22636f64696e67223a2272616e6765227d8d5df5a10400000000"
    "00403fabb377a71700000012020000000000010000000000000000000001700100c84d1b25380c000000843f66da"
    "95e68bd71627bbdbab86e8d8401b9e04"
)
GOLDEN_IDS = [
    [44, 0, 5306],
    [239, 0, 3504],
    [933, 0, 4607],
    [760, 0, 3737],
    [963, 0, 4166],
    [379, 0, 371],
    [427, 0, 5291],
    [503, 0, 716],
    [497, 0, 5515],
]
IMAGELESS = ("sample_rate", "channels", "length")  # what the header of an image does not have
GOLDEN_3 = (
    "894954470d0a1a0a03e30000007b22636f646563223a22636f646563222c2266696e6765727072696e74223a2230"
    "66306630663066306630663066306630663066306630663066306630663066222c22766f636162223a5b3531322c"
    "395d2c22706f736974696f6e73223a332c22686f705f6c656e677468223a382c22657874726173223a7b22666974"
    "223a2263726f70227d2c226d6f64616c697479223a22696d616765222c22636f64696e67223a227061636b656422"
    "2c2270696374757265223a7b22686569676874223a352c227769647468223a32332c22726f7773223a312c22636f"
    "6c756d6e73223a337d7d1878235f000000001cdf4421000000001cdf442105000000ff11c00004cef49d18e4c068"
    "82"
)
SAMPLES = {
    "vq": ((4096,), 150, {}),
    "fsq": ((6561,), 41, {}),
    "three groups": ((1000, 1, 2), 37, {}),
    "scale": ((1000, 2), 30, {"scale": (0.5, 2.0**-26, 3.0)}),
    "range": ((9, 3), 300, {"coding": "range", "scale": (0.25,)}),
    "image": ((512, 9), 54, {"modality": "image"}),
    "range image": ((9,), 600, {"modality": "image", "coding": "range"}),
}


def header_of(vocab, positions, **changes):
    if changes.get("modality") == "image":
        picture = Extent(41, 70, 6, 9)
        return image_header(
            "codec",
            "0f" * 16,
            vocab=vocab,
            positions=positions,
            hop_length=8,
            picture=picture,
            extras={"fit": "crop"},
        )._replace(**changes)
    header = TokenHeader("codec", "0f" * 16, vocab, positions, 16000, 320, 1, positions * 320, {})
    return header._replace(**changes)


def draw(vocab, positions, seed=0):
    generator = torch.Generator().manual_seed(seed)
    columns = [torch.randint(0, size, (positions,), generator=generator) for size in vocab]
    return torch.stack(columns, 1)


def written(header, ids):
    file = io.BytesIO()
    write_tokens(file, header, ids)
    return file.getvalue()


def forged(fields, body=b"", version=1):
    """A file with correct checksums of the header, whatever the header says."""
    if not isinstance(fields, bytes):
        left_out = ("scale", "picture") if version < 3 else ("scale", *IMAGELESS)
        fields = json.dumps({k: v for k, v in fields.items() if k not in left_out}).encode()
    text = fields
    head = struct.pack("<8sBI", MAGIC, version, len(text)) + text
    return head + struct.pack("<I", zlib.crc32(head)) + body


def refusal(data):
    """The message with which reading refuses ``data``; the header alone may be valid."""
    with pytest.raises(TokenFileError) as caught:
        read_tokens(io.BytesIO(data))
    message = str(caught.value)
    assert message and "\n" not in message
    return message


@pytest.fixture(params=SAMPLES, ids=list(SAMPLES))
def sample(request, monkeypatch):
    """A small file; the first and the last have several chunks."""
    monkeypatch.setattr(packing, "CHUNK_BITS", 800)
    vocab, positions, changes = SAMPLES[request.param]
    ids = draw(vocab, positions)
    if "coding" in changes:
        ids[ids > 1] = 0
    data = written(header_of(vocab, positions, **changes), ids)
    assert read_header(io.BytesIO(data)) == header_of(vocab, positions, **changes)
    return data


def test_golden_bytes_of_version_1_stay_readable():
    header, ids = read_tokens(io.BytesIO(bytes.fromhex(GOLDEN)))
    extras = {"source": {"sample_rate": 44100, "length": 7441}}
    fingerprint = "0123456789abcdef" * 2
    vocab = (1000, 1, 6561)
    assert header == TokenHeader("golden", fingerprint, vocab, 9, 16000, 320, 1, 2700, extras)
    assert ids.tolist() == GOLDEN_IDS
    assert written(header, ids).hex() == GOLDEN


@pytest.mark.parametrize("seed", range(60))
def test_random_shapes_come_back(seed):
    generator = torch.Generator().manual_seed(seed)
    groups = int(torch.randint(1, 9, (), generator=generator))
    exponents = torch.rand(groups, generator=generator) * 20
    vocab = tuple(max(1, int(2**exponent)) for exponent in exponents.tolist())
    positions = int(torch.randint(0, 3000 if seed % 5 else 9000, (), generator=generator))
    ids = draw(vocab, positions, seed)
    header = header_of(vocab, positions, codec="Kodek Ω", extras={"a": [1, None, "ü"]})
    read, again = read_tokens(io.BytesIO(written(header, ids)))
    assert read == header
    assert again.dtype == torch.int64 and torch.equal(again, ids)


def test_a_position_larger_than_a_chunk_comes_back():
    vocab = (2**32,) * 2100
    ids = draw(vocab, 3)
    assert torch.equal(read_tokens(io.BytesIO(written(header_of(vocab, 3), ids)))[1], ids)


def test_every_flipped_bit_is_detected(sample):
    for place in range(8 * len(sample)):
        damaged = bytearray(sample)
        damaged[place // 8] ^= 1 << place % 8
        try:
            read_tokens(io.BytesIO(damaged))
        except TokenFileError:
            continue
        pytest.fail(f"bit {place} flipped unnoticed")


def test_every_truncation_is_detected_and_named(sample):
    for size in range(len(sample)):
        assert "truncated" in refusal(sample[:size])


def test_every_appended_byte_is_detected(sample):
    for byte in range(256):
        assert "follow its end" in refusal(sample + bytes([byte]))
    assert "follow its end" in refusal(sample + sample)


def test_the_header_alone_notices_a_wrong_size(sample):
    assert read_header(io.BytesIO(sample)).codec == "codec"
    for wrong in (sample[:-1], sample + b"\0"):
        with pytest.raises(TokenFileError):
            read_header(io.BytesIO(wrong))


def test_damage_names_its_chunk_and_exchanged_chunks_are_noticed(monkeypatch):
    monkeypatch.setattr(packing, "CHUNK_BITS", 128)
    data = bytearray(written(header_of((256,), 48), draw((256,), 48)))
    chunks = len(data) - 4 - 3 * 24
    data[chunks + 24 + 10] ^= 4
    assert "chunk 2 of 3 (positions 16 to 31)" in refusal(data)
    data[chunks + 24 + 10] ^= 4
    first, second = data[chunks : chunks + 24], data[chunks + 24 : chunks + 48]
    data[chunks : chunks + 48] = second + first
    assert "checksum of the whole" in refusal(data)


def test_a_newer_version_differs_from_a_damaged_version_byte():
    newer = forged({"whatever": "comes"}, b"in the future", version=4)
    assert "version 4" in refusal(newer) and "upgrade intaglio" in refusal(newer)
    damaged = bytearray(bytes.fromhex(GOLDEN))
    damaged[8] = 2
    assert "upgrade" not in refusal(damaged)
    assert "version 0" in refusal(forged({}, version=0))


@pytest.mark.parametrize("data", [b"RIFF\0\0\0\0WAVE", b"x", b"\x89PNG\r\n\x1a\n" * 9])
def test_another_file_is_no_token_file(data):
    assert "not a token file" in refusal(data)


def test_a_lie_about_positions_is_refused_without_allocating():
    fields = header_of((4096,), 10**12)._asdict()
    tracemalloc.start()
    message = refusal(forged(fields, bytes(100)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "truncated" in message and "1000000000000 positions" in message
    assert peak < 1_000_000


@pytest.mark.parametrize(
    "changes",
    [
        {"vocab": []},
        {"vocab": [0]},
        {"vocab": [True]},
        {"vocab": [2**32 + 1]},
        {"vocab": [2] * 4097},
        {"vocab": 4096},
        {"vocab": {"1": 1}},
        {"positions": -1},
        {"positions": 0.5},
        {"positions": True},
        {"positions": 10**30},
        {"sample_rate": 0},
        {"sample_rate": "16000"},
        {"hop_length": 0},
        {"channels": None},
        {"length": -1},
        {"length": 1281},
        {"codec": ""},
        {"codec": "x" * 201},
        {"codec": "\x1b[2J"},
        {"codec": "\ud800"},
        {"codec": 7},
        {"fingerprint": "0F" * 16},
        {"fingerprint": "0f" * 15},
        {"fingerprint": 12345678901234567890123456789012},
        {"extras": []},
        {"modality": "smell"},
        {"coding": "arithmetic"},
        {"coding": "range"},
        {"coding": ["packed"]},
    ],
    ids=str,
)
def test_a_header_that_breaks_the_contract_is_refused(changes):
    message = refusal(forged(header_of((4096,), 4)._asdict() | changes, bytes(18)))
    assert message.startswith("refused: ")
    unknown = "modality" in changes or changes.get("coding") in ("arithmetic", ["packed"])
    assert ("upgrade" in message) == unknown


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b"{}", b"\xff", b"[" * 60000, b'{"codec":' + b"9" * 60000 + b"}"],
    ids=lambda text: text[:12].decode("latin1"),
)
def test_a_header_that_is_none_is_refused(text):
    assert "damaged: its header" in refusal(forged(text))


@pytest.mark.parametrize("value", [math.nan, -math.inf, json.loads("[" * 40 + "]" * 40)], ids=str)
def test_extras_that_cannot_be_written_again_are_refused(value):
    header = header_of((4096,), 4, extras={"a": value})
    assert "finite" in refusal(forged(header._asdict()))
    with pytest.raises(ValueError, match="finite"):
        written(header, draw((4096,), 4))


def test_missing_and_unknown_fields_are_refused():
    fields = header_of((4096,), 4)._asdict()
    assert "fields" in refusal(forged(fields | {"more": 1}))
    del fields["length"]
    assert "fields" in refusal(forged(fields))


def test_a_header_size_over_the_limit_is_refused_before_it_is_read():
    preamble = struct.pack("<8sBI", MAGIC, 1, (1 << 16) + 1)
    assert "limit" in refusal(preamble + bytes(1 << 17))


def test_lies_with_correct_checksums_are_refused():
    """Ids outside the codebook, a wrong chunk size and filling bits, all with fitting CRCs."""
    fields = header_of((3,), 3)._asdict()
    for size, payload, reason in (
        (1, b"\x0c", "outside"),
        (1, b"\x40", "not zero"),
        (2, b"\0", "not match"),
    ):
        chunk = struct.pack("<I", size) + payload
        head = forged(fields)
        whole = zlib.crc32(head[:-4] + chunk)
        body = chunk + struct.pack("<I", zlib.crc32(chunk)) + struct.pack("<I", whole)
        assert reason in refusal(head + body)


def test_writing_checks_the_ids_and_the_header():
    header, ids = header_of((3, 5), 2), torch.tensor([[0, 4], [2, 0]])
    assert read_tokens(io.BytesIO(written(header, ids)))[1].tolist() == ids.tolist()
    for wrong in (ids + 1, ids - 1, ids[:1], ids.int(), ids[None]):
        with pytest.raises(ValueError, match="ids"):
            written(header, wrong)
    for changes in ({"coding": "zip"}, {"fingerprint": "?"}, {"length": 641}, {"positions": -1}):
        with pytest.raises(ValueError, match="cannot write"):
            written(header._replace(**changes), ids)
    with pytest.raises(ValueError, match="header takes"):
        written(header._replace(extras={"text": "x" * 66000}), ids)


def skewed(vocab, positions, seed=0):
    """Ids of which the lower ones are more frequent, as entropy coding likes them."""
    ids = draw(vocab, positions, seed) * draw(vocab, positions, seed + 1)
    return ids // torch.tensor(vocab)


@pytest.mark.parametrize("coding", ["packed", "range"])
@pytest.mark.parametrize("sizes", [[1] * 40, [7, 0, 900, 1], [5000, 4000], []], ids=len)
def test_a_stream_gives_the_bytes_of_the_whole(sizes, coding, monkeypatch):
    monkeypatch.setattr(packing, "CHUNK_BITS", 4096)
    vocab = (64, 9)
    ids = skewed(vocab, sum(sizes))
    header = header_of(vocab, sum(sizes), coding=coding, scale=(0.5,) if sizes else ())
    file = io.BytesIO()
    with TokenWriter(file, vocab) as writer:
        for block in ids.split(sizes) if sizes else ():
            writer.write(block)
        assert writer.positions == sum(sizes)
        said = writer.finish(header)
    assert file.getvalue() == written(header, ids)
    read, blocks = iter_tokens(io.BytesIO(file.getvalue()))
    assert read == said and said.scale == header.scale
    blocks = list(blocks)
    assert torch.equal(torch.cat([ids[:0], *blocks]), ids)
    assert all(len(block) <= 4096 // 10 for block in blocks)


def test_an_hour_of_32_groups_takes_little_memory(tmp_path):
    vocab, positions, block = (1024,) * 32, 75 * 3600, 7500
    path = tmp_path / "long.intaglio"
    tracemalloc.start()
    with path.open("wb") as file, TokenWriter(file, vocab) as writer:
        for seed in range(positions // block):
            writer.write(draw(vocab, block, seed))
        writer.finish(header_of(vocab, positions))
    with path.open("rb") as file:
        total = sum(int(ids.sum()) for ids in iter_tokens(file)[1])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 10_800_000
    assert total == sum(int(draw(vocab, block, seed).sum()) for seed in range(positions // block))
    assert peak < 20_000_000  # the ids alone take 69 million bytes


def test_a_writer_tells_what_does_not_fit():
    with TokenWriter(io.BytesIO(), (3, 5)) as writer:
        for wrong in ([[3, 0]], [[0, -1]], [[0, 0, 0]]):
            with pytest.raises(ValueError, match="ids"):
                writer.write(torch.tensor(wrong))
        writer.write(torch.tensor([[2, 4]]))
        for header in (header_of((3, 5), 2), header_of((3, 6), 1)):
            with pytest.raises(ValueError, match=r"ids of 1 positions of \(3, 5\)"):
                writer.finish(header)


def test_the_scale_comes_back_exactly():
    scale = tuple(torch.rand(40, generator=torch.Generator().manual_seed(1)).tolist())
    header = header_of((5,), 40, scale=scale)
    data = written(header, draw((5,), 40))
    assert data[8] == 2 and read_header(io.BytesIO(data)).scale == scale
    assert b"scale" not in data  # it is no JSON
    wrong = ((0.1,), (0.0,), (-1.0,), (float("inf"),), (float("nan"),), (1.0,) * 41)
    for scale in wrong:  # 0.1 is no float32
        with pytest.raises(ValueError, match="scale"):
            written(header._replace(scale=scale), draw((5,), 40))


def test_entropy_coding_makes_a_long_file_smaller_and_never_a_short_one_larger():
    vocab = (1024, 1024)
    for positions in (0, 1, 50, 500, 40_000):
        ids = skewed(vocab, positions)
        header = header_of(vocab, positions)
        packed, coded = written(header, ids), written(header._replace(coding="range"), ids)
        said, again = read_tokens(io.BytesIO(coded))
        assert torch.equal(again, ids)
        assert len(coded) <= len(packed)
        assert said.coding == ("range" if len(coded) < len(packed) else "packed")
    assert len(coded) < 0.96 * len(packed)
    ids = draw(vocab, 40_000)  # nothing to gain
    assert written(header._replace(coding="range"), ids) == written(header, ids)


def test_codebooks_too_large_for_a_prior_stay_packed():
    ids = torch.zeros(4000, 1, dtype=torch.int64)
    header = header_of((2**32,), 4000, coding="range")
    assert read_header(io.BytesIO(written(header, ids))).coding == "packed"


def test_golden_bytes_of_version_2_stay_readable():
    header = header_of((4,), 400, coding="range", scale=(0.75,))
    ids = (torch.arange(400) % 40 == 7).long()[:, None] * 3
    assert written(header, ids).hex() == GOLDEN_2
    read, again = read_tokens(io.BytesIO(bytes.fromhex(GOLDEN_2)))
    assert read == header and torch.equal(again, ids)


def test_lies_about_a_prior_are_refused():
    """Version 2 with a prior that is none, too large or missing, all with fitting checksums."""

    def frame(content):
        framed = struct.pack("<I", len(content)) + content
        return framed + struct.pack("<I", zlib.crc32(framed))

    fields = header_of((2, 2), 0)._asdict()
    for prior in (b"\0", b"\x05", b"\xff" * 300, b"\x01\xff" + bytes(8), b"\x02\1\1" + bytes(3)):
        body = frame(b"") + frame(prior) + bytes(4)
        assert "damaged" in refusal(forged(fields | {"coding": "range"}, body, version=2))
    assert "prior of 0 bytes" in refusal(
        forged(fields | {"coding": "range"}, frame(b"") + frame(b"") + bytes(4), version=2)
    )
    assert "prior of 1 bytes" in refusal(
        forged(fields, frame(b"") + frame(b"\0") + bytes(4), version=2)
    )
    huge = header_of((2**20, 2), 0)._asdict() | {"coding": "range"}
    body = frame(b"") + frame(b"\x01\1" + bytes(1 << 14)) + bytes(4)
    assert "too many" in refusal(forged(huge, body, version=2))
    for scale in (b"\0\0\0", struct.pack("<f", -1), struct.pack("<f", 1)):  # the last: no position
        body = frame(scale) + frame(b"") + bytes(4)
        assert "scale" in refusal(forged(fields, body, version=2))


def test_a_lie_about_range_coded_positions_is_refused_without_allocating():
    fields = header_of((2,), 10**12)._asdict() | {"coding": "range"}
    prior = struct.pack("<I", 1) + b"\1"
    body = struct.pack("<II", 0, zlib.crc32(bytes(4))) + prior
    body += struct.pack("<I", zlib.crc32(prior)) + bytes(4000)
    tracemalloc.start()
    message = refusal(forged(fields, body, version=2))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "truncated" in message and "1000000000000 positions" in message
    assert peak < 1_000_000


def test_a_lie_about_the_size_of_a_frame_is_refused_without_allocating(tmp_path):
    fields = header_of((2,), 0)._asdict()
    path = tmp_path / "lie.intaglio"
    path.write_bytes(forged(fields, struct.pack("<I", 2**30) + bytes(100), version=2))
    tracemalloc.start()
    with path.open("rb") as file, pytest.raises(TokenFileError, match="1073741824 bytes are not"):
        read_tokens(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_golden_bytes_of_version_3_stay_readable():
    header = header_of((512, 9), 3, modality="image", picture=Extent(5, 23, 1, 3))
    ids = torch.tensor([[511, 8], [0, 3], [256, 0]])
    assert written(header, ids).hex() == GOLDEN_3
    read, again = read_tokens(io.BytesIO(bytes.fromhex(GOLDEN_3)))
    assert read == header and torch.equal(again, ids)
    assert isinstance(read.picture, Extent) and read.picture.grid == (1, 3)


def test_an_image_need_not_have_a_grid():
    header = header_of((4096,), 32, modality="image", picture=Extent(480, 640))
    assert read_header(io.BytesIO(written(header, draw((4096,), 32)))).picture.grid is None


@pytest.mark.parametrize(
    "changes",
    [
        {"height": 0},
        {"width": 1 << 21},
        {"width": 72.0},
        {"rows": 5},
        {"rows": 7},
        {"columns": 0},
        {"rows": 0},
        {"rows": -1},
        {"rows": True},
        {"height": None},
        {"height": 1 << 16, "width": 1 << 16, "rows": 1 << 13, "columns": 1 << 13},
    ],
    ids=str,
)
def test_a_picture_that_breaks_the_contract_is_refused(changes):
    header = header_of((4096,), 54, modality="image")
    fields = header._asdict() | {"picture": header.picture._asdict() | changes}
    assert refusal(forged(fields, version=3)).startswith("refused: ")
    with pytest.raises(ValueError, match="cannot write"):
        written(header._replace(picture=header.picture._replace(**changes)), draw((4096,), 54))


def test_modality_picture_and_version_belong_together():
    image, sound = header_of((4096,), 54, modality="image"), header_of((4096,), 54)
    ids = draw((4096,), 54)
    wrong = (
        *(image._replace(picture=None), image._replace(length=1), image._replace(scale=(1.0,))),
        *(sound._replace(picture=image.picture), image._replace(modality="audio")),
    )
    for header in wrong:
        with pytest.raises(ValueError, match="cannot write"):
            written(header, ids)
    fields = image._asdict() | {"picture": image.picture._asdict()}
    for picture in (None, [], {"height": 1}, image.picture._asdict() | {"depth": 1}):
        assert "size of its picture" in refusal(forged(fields | {"picture": picture}, version=3))
    for version in (1, 2):
        text = forged(fields, version=3)[13:-4]
        assert f"in a file of version {version}" in refusal(forged(text, version=version))
    assert "in a file of version 3" in refusal(forged(forged(sound._asdict())[13:-4], version=3))
