"""Token files with valid checksums whose contents are chosen to cost much, or at random."""

import io
import json
import random
import struct
import time
import tracemalloc
import zlib
from dataclasses import dataclass, replace

import numpy as np
import pytest

from intaglio.data.formats.entropy import StaticPrior, encode_chunk, least_bytes
from intaglio.data.formats.packing import chunks, pack, packed_size, positions_per_chunk
from intaglio.data.formats.token_frames import UINT, frame, whole_crc
from intaglio.data.formats.token_writer import MAGIC, PREAMBLE
from intaglio.data.formats.tokens import TokenFileError, iter_tokens, read_tokens
from intaglio.recipes.tokenization.id_counts import IdCounts

SECONDS = 1  # for each file, of one processor
TIMES = 64  # its size, of memory
BESIDES = 4 << 20  # bytes
AUDIO = {"sample_rate": 16000, "hop_length": 320, "channels": 1, "length": 0, "modality": "audio"}
PICTURE = {"height": 41, "width": 70, "rows": 6, "columns": 9}
IMAGE = {"hop_length": 8, "modality": "image", "picture": PICTURE}


@dataclass(frozen=True)
class Parts:
    """What a token file is made of; `data` puts it together with checksums that are right."""

    fields: dict
    version: int
    frames: tuple[bytes, ...]
    text: bytes | None = None  # of the header, in place of the fields
    tail: bytes = b""

    @property
    def data(self):
        text = json.dumps(self.fields).encode() if self.text is None else self.text
        head = PREAMBLE.pack(MAGIC, self.version, len(text)) + text
        whole = zlib.crc32(head)
        pieces = [head, UINT.pack(whole)]
        for content in self.frames:
            pieces.append(frame(content))
            whole = whole_crc(content, whole)
        return b"".join([*pieces, UINT.pack(whole), self.tail])


def parts(vocab, positions, contents, *, coding="packed", scale=b"", prior=b"", form=AUDIO):
    fields = {"codec": "c", "fingerprint": "0f" * 16, "vocab": list(vocab), "positions": positions}
    version = 3 if form is IMAGE else 2 if scale or prior else 1
    before = (scale, prior) if version > 1 else ()
    fields |= {**form, "coding": coding, "extras": {}}
    return Parts(fields, version, (*before, *contents))


def packed(vocab, size, scale=b""):
    """Zeros of about ``size`` bytes."""
    per_chunk = positions_per_chunk(vocab)
    content = bytes(packed_size(per_chunk, vocab))
    count = max(1, size // (len(content) + 8))
    return parts(vocab, per_chunk * count, [content] * count, scale=scale)


def distinct(width, size):
    """A file of about ``size`` bytes in which each id of one group is another."""
    vocab, count = (1 << width,), size * 8 // width
    ids = np.arange(count)[:, None] % vocab[0]
    contents = [pack(ids[start:stop], vocab) for start, stop in chunks(count, vocab)]
    return parts(vocab, count, contents)


def coded(vocab, size, ids_per_word):
    """Zeros in a range-coded file whose prior knows nothing."""
    prior = bytes([1, 1]) + bytes(least_bytes(sum(vocab)))
    per_chunk = positions_per_chunk(vocab)
    content = bytes(least_bytes(per_chunk * len(vocab), ids_per_word))
    count = max(1, (size - len(prior)) // (len(content) + 8))
    contents = [content] * count
    return parts(vocab, per_chunk * count, contents, coding="range", prior=prior)


COSTLY = {
    "a bit an id": lambda size: packed((1,), size),
    "two entries": lambda size: packed((2,), size),
    "4,096 groups": lambda size: packed((3,) * 4096, size),
    "a scale a position": lambda size: packed(
        (1 << 32,), size // 2, scale=struct.pack("<f", 1) * (size // 8)
    ),
    "all ids differ": lambda size: distinct(20, size),
    "256 ids a word": lambda size: coded((1,), size, 256),
    "8 ids a word": lambda size: coded((1,), size, 8),
    "a large codebook": lambda size: coded((1 << 20,), size, 8),
    "a large codebook, 256 ids a word": lambda size: coded((1 << 20,), size, 256),
    "a codebook as large as the file allows": lambda size: coded((2 * size - 4096,), size, 8),
    "4,096 coded groups": lambda size: coded((256,) * 4096, size, 8),
    "256 coded groups": lambda size: coded((8,) * 256, size, 8),
}


def cost(data):
    """Seconds and bytes that reading and counting take, each; what is refused is cheap as well."""

    def use():
        read_tokens(io.BytesIO(data))
        header, blocks = iter_tokens(io.BytesIO(data))
        counts = IdCounts(header.vocab)
        for block in blocks:
            counts.add(block)
        counts.use()

    return measured(use)[:2]


def reading_cost(data):
    """Seconds and bytes that reading takes, and whether the file was read."""
    return measured(lambda: read_tokens(io.BytesIO(data)))


def measured(use):
    """Seconds, bytes at most, and whether a file was used that may be refused in one line."""
    tracemalloc.start()
    begin, whole = time.process_time(), True
    try:
        use()
    except (ValueError, EOFError) as error:
        assert str(error) and "\n" not in str(error)
        whole = False
    seconds, peak = time.process_time() - begin, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return seconds, peak, whole


@pytest.mark.parametrize("size", [20_000, 200_000])
@pytest.mark.parametrize("make", COSTLY.values(), ids=list(COSTLY))
def test_reading_costs_in_proportion_to_the_file(make, size):
    data = make(size).data
    assert len(data) < 1.2 * size + 70_000
    seconds, peak = cost(data)
    assert peak < TIMES * len(data) + BESIDES
    assert seconds < SECONDS


def test_what_would_cost_too_much_is_refused_from_the_header():
    for make, reason in (
        (coded((1,), 200_000, 256), "range-coded ids are too many"),
        (coded((256,) * 4096, 400_000, 8), "range-coded groups are too many"),
        (coded((1 << 20,), 100_000, 16), "memory to read, more than 64 times its size"),
    ):
        for read in (read_tokens, iter_tokens):
            with pytest.raises(TokenFileError, match=f"refused: .*{reason}"):
                read(io.BytesIO(make.data))


def test_few_range_coded_ids_may_take_next_to_nothing():
    """Silence of earlier versions: chunk by chunk two million ids are free, kept they are not."""
    data = coded((4096,), 8_000, 256).data
    header, blocks = iter_tokens(io.BytesIO(data))
    assert sum(map(len, blocks)) == header.positions > 400_000
    with pytest.raises(TokenFileError, match="refused"):
        read_tokens(io.BytesIO(data))


def bases(draw):
    """Files that are right, to be changed."""
    for vocab in ((4,), (1000, 1, 6561), (2,) * 30, (3, 9), (1 << 32, 5), (65536,)):
        for form in (AUDIO, IMAGE):
            positions = draw.choice([1, 54, 700])
            generator = np.random.default_rng(draw.randrange(1 << 30))
            ids = np.stack([generator.integers(0, min(size, 9), positions) for size in vocab], 1)
            ids = np.minimum(ids, np.array(vocab) - 1)
            bounds = list(chunks(positions, vocab))
            yield parts(vocab, positions, [pack(ids[a:b], vocab) for a, b in bounds], form=form)
            if sum(vocab) > 1 << 17:
                continue
            prior = StaticPrior.of(
                [np.bincount(column, minlength=n) for column, n in zip(ids.T, vocab, strict=True)]
            )
            contents = [encode_chunk(ids[a:b], prior) for a, b in bounds]
            scale = struct.pack("<f", 0.5) if form is AUDIO else b""
            yield parts(
                vocab,
                positions,
                contents,
                coding="range",
                prior=prior.to_bytes(),
                scale=scale,
                form=form,
            )


INTEGERS = (0, 1, 2, 3, 7, 255, 256, 4096, 65536, (1 << 20) - 1, 1 << 20, 1 << 31, 1 << 32, 1 << 53)
VALUES = (-1, True, None, 0.5, 1e400, "", "x", [], {}, [[]], [1] * 4096, [65536] * 16, 1 << 70)


def changed_field(draw, one):
    fields = dict(one.fields)
    name = draw.choice([*fields, *(often for often in ("vocab", "positions") if often in fields)])
    old = fields[name]
    if name == "vocab" and type(old) is list and draw.random() < 0.8:
        vocab = [*old, 1]
        vocab[draw.randrange(len(vocab))] = draw.choice(INTEGERS)
        fields[name] = vocab[: len(old)] * draw.choice([1, 1, 1, 2, 100])
    elif name == "picture" and type(old) is dict and draw.random() < 0.8:
        fields[name] = old | {draw.choice([*PICTURE]): draw.choice([*INTEGERS, *VALUES])}
    elif draw.random() < 0.1 and len(fields) > 1:
        del fields[name]
    else:
        near = (old + 1, old - 1, 2 * old) if type(old) is int else ()
        fields[name] = draw.choice([*INTEGERS, *VALUES, *near, *near])
    return replace(one, fields=fields)


def changed_text(draw, one):
    text = bytearray(json.dumps(one.fields).encode())
    for _ in range(draw.choice([1, 1, 3])):
        text[draw.randrange(len(text))] = draw.choice(b'0123456789"{}[],:\\\xffNI' + bytes(2))
    return replace(one, text=bytes(text))


def changed_frame(draw, one):
    frames = list(one.frames)
    place = draw.randrange(len(frames))
    content = bytearray(frames[place])
    action = draw.randrange(6)
    if action == 0:
        content = content[: draw.randrange(len(content) + 1)]
    elif action == 1:
        content += draw.randbytes(draw.choice([1, 2, 4, 8, 400, 4000]))
    elif action == 2:
        content = bytes(len(content)) if draw.random() < 0.5 else draw.randbytes(len(content))
    else:
        for _ in range(draw.choice([1, 1, 4]) if content else 0):
            content[draw.randrange(len(content))] = draw.choice([0, 1, 255, draw.randrange(256)])
    frames[place] = bytes(content)
    return replace(one, frames=tuple(frames))


def changed_order(draw, one):
    frames = list(one.frames)
    place = draw.randrange(len(frames))
    action = draw.randrange(4)
    if action == 0:
        del frames[place]
    elif action == 1:
        frames.insert(place, draw.choice([frames[place], b"", draw.randbytes(8)]))
    elif action == 2:
        frames.reverse()
    else:
        return replace(one, version=draw.choice([0, 1, 2, 3, 4, 255]), tail=draw.randbytes(1)[1:])
    return replace(one, frames=tuple(frames))


CHANGES = (changed_field, changed_field, changed_frame, changed_frame, changed_text, changed_order)


def mutants(seed):
    """Files without end whose checksums are right, and of which little else need be."""
    draw = random.Random(seed)
    while True:
        originals = list(bases(draw))
        for _ in range(2000):
            one = draw.choice(originals)
            for _ in range(draw.choice([1, 1, 2, 3])):
                if one.frames and one.text is None:
                    one = draw.choice(CHANGES)(draw, one)
            yield one.data


def test_mutants_are_read_or_refused_in_time_and_memory():
    files = mutants(0)
    for _ in range(400):
        data = next(files)
        seconds, peak = cost(data)
        assert seconds < SECONDS and peak < TIMES * len(data) + BESIDES, data.hex()[:4000]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 101))
def test_a_million_mutants_are_read_or_refused_in_time_and_memory(seed, count=10_000):
    """Half a minute each; a line says what one of them took, so that they can be added up."""
    files, read, longest, most, times = mutants(seed), 0, 0.0, 0, 0.0
    for _ in range(count):
        data = next(files)
        seconds, peak, whole = reading_cost(data)
        assert seconds < SECONDS and peak < TIMES * len(data) + BESIDES, data.hex()[:4000]
        read, longest, most = read + whole, max(longest, seconds), max(most, peak)
        times = max(times, peak / max(len(data), BESIDES // TIMES))
    print(
        f"seed {seed}: {count} files, {read} read; at most {longest:.3f} s, {most} bytes of memory "
        f"and {times:.1f} times a file of {BESIDES // TIMES} bytes or more"
    )
    assert count // 100 < read < count // 2
