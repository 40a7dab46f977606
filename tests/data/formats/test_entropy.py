"""Entropy coding: exact frequencies, the documented coder, with a static or an adaptive prior."""

import sys

import numpy as np
import pytest

from intaglio.data.formats.entropy import (
    TOTAL,
    Prior,
    StaticPrior,
    decode_chunk,
    encode_chunk,
    integer_frequencies,
)


def draw(vocab, positions, seed=0, power=2.0):
    """Ids that prefer low numbers, more so for a higher power."""
    generator = np.random.default_rng(seed)
    columns = [(size * generator.random(positions) ** power).astype(np.int64) for size in vocab]
    return np.stack(columns, 1)


def counts_of(ids, vocab):
    return [np.bincount(column, minlength=size) for column, size in zip(ids.T, vocab, strict=True)]


class Adaptive(Prior):
    """Counts the ids of the chunk so far; the second group also sees the first of its position."""

    block = 1

    def __init__(self, vocab):
        self.vocab = vocab

    def frequencies(self, group, past, present):
        assert present.shape == (1, group)
        weights = 1 + 30 * np.bincount(past[:, group], minlength=self.vocab[group])
        if group == 1:
            weights[present[0, 0] % self.vocab[1]] += 10_000
        return integer_frequencies(weights)


def reference_decode(content, frequencies, count):
    """Range decoder in Python's integers: 64 bits of state, words of 32, frequencies of 24."""
    words = [int.from_bytes(content[at : at + 4], "little") for at in range(0, len(content), 4)]
    starts = np.concatenate([[0], np.cumsum(frequencies)])
    take = iter(words + [0] * 99)
    lower, width = 0, (1 << 64) - 1
    point = next(take) << 32 | next(take)
    ids = []
    for _ in range(count):
        scale = width >> 24
        offset = (point - lower) % (1 << 64)
        found = int(np.searchsorted(starts, offset // scale, side="right")) - 1
        ids.append(found)
        lower = (lower + scale * int(starts[found])) % (1 << 64)
        width = scale * int(frequencies[found])
        if width < 1 << 32:
            lower, width = (lower << 32) % (1 << 64), width << 32
            point = (point << 32) % (1 << 64) | next(take)
    return ids


@pytest.mark.parametrize("size", [1, 2, 3, 63, 4096, 1 << 18])
def test_a_law_is_whole_positive_and_close(size):
    weights = np.random.default_rng(size).integers(0, 1000, size) ** 4
    frequencies = integer_frequencies(weights)
    assert frequencies.dtype == np.int64 and len(frequencies) == max(size, 2)
    assert frequencies.sum() == TOTAL and frequencies.min() >= 1
    share = weights / max(weights.sum(), 1)
    assert np.abs(frequencies[:size] / TOTAL - share).max() < 2e-6 + (size + 1) / TOTAL
    assert (integer_frequencies(np.zeros(size, np.int64)) >= TOTAL // max(size, 2) - 1).all()
    assert integer_frequencies(np.full(size, 1 << 40)).sum() == TOTAL  # weights that would overflow


@pytest.mark.parametrize("vocab", [(1,), (2,), (63,), (4096,), (1024,) * 4, (5, 1, 70_000)])
@pytest.mark.parametrize("positions", [1, 2, 700])
def test_ids_come_back_under_the_static_prior_and_its_bytes(vocab, positions):
    ids = draw(vocab, positions)
    prior = StaticPrior.of(counts_of(ids, vocab))
    again = StaticPrior.from_bytes(prior.to_bytes(), vocab)
    for group in range(len(vocab)):
        assert (prior.frequencies(group, ids, ids) == again.frequencies(group, ids, ids)).all()
    assert (decode_chunk(encode_chunk(ids, prior), positions, vocab, again) == ids).all()


def test_the_size_is_that_of_the_integer_frequencies():
    vocab, positions = (4096,), 20_000
    ids = draw(vocab, positions, power=3)
    counts = counts_of(ids, vocab)[0]
    prior = StaticPrior.of([counts])
    bits = 8 * len(encode_chunk(ids, prior))
    ideal = -np.log2(prior.frequencies(0, ids, ids)[ids[:, 0]] / TOTAL).sum()
    assert ideal <= bits < ideal + 64
    entropy = -(counts * np.log2(np.maximum(counts, 1) / positions)).sum()
    assert ideal < entropy + 0.012 * positions  # what rounding the counts to classes costs
    assert 8 * len(prior.to_bytes()) < 4 * vocab[0]


def test_the_coder_is_the_documented_one():
    """An independent decoder of integers agrees: no frequency depends on floating-point numbers."""
    for size, seed in ((2, 0), (63, 1), (4096, 2)):
        ids = draw((size,), 500, seed, power=4)
        prior = StaticPrior.of(counts_of(ids, (size,)))
        content = encode_chunk(ids, prior)
        assert reference_decode(content, prior.frequencies(0, ids, ids), 500) == ids[:, 0].tolist()


def test_golden_bytes_stay():
    ids = np.array([[0, 3], [1, 3], [0, 0], [0, 3], [2, 3], [0, 1]])
    prior = StaticPrior.of(counts_of(ids, (3, 4)))
    assert prior.to_bytes().hex() == "050104000002bfa367d0"
    assert encode_chunk(ids, prior).hex() == "c5b98a86"


def test_an_adaptive_prior_is_decoded_from_its_own_past():
    vocab = (50, 7)
    ids = draw(vocab, 400, power=3)
    ids[:, 1] = ids[:, 0] % 7
    prior = Adaptive(vocab)
    content = encode_chunk(ids, prior)
    assert (decode_chunk(content, 400, vocab, prior) == ids).all()
    static = StaticPrior.of(counts_of(ids, vocab))
    assert len(content) < 0.9 * len(encode_chunk(ids, static))  # it knows the second group


def test_a_certain_law_still_takes_some_bytes():
    """A few bytes must not stand for any number of ids."""
    ids = np.zeros((65536, 1), np.int64)
    prior = StaticPrior.of([np.array([65536])])
    content = encode_chunk(ids, prior)
    assert len(content) == 4 * 65536 // 256
    assert (decode_chunk(content, 65536, (1,), prior) == ids).all()
    with pytest.raises(ValueError, match="cannot be its ids"):
        decode_chunk(content[:-4], 65536, (1,), prior)


def test_garbage_gives_ids_or_a_value_error():
    generator = np.random.default_rng(0)
    vocab = (3, 60)
    prior = StaticPrior.of([np.array([5, 0, 0]), np.arange(60)])
    outcomes = set()
    for _ in range(300):
        content = generator.bytes(4 * int(generator.integers(0, 9)))
        try:
            ids = decode_chunk(content, 20, vocab, prior)
            assert (ids >= 0).all() and (ids < np.array(vocab)).all()
            outcomes.add("ids")
        except ValueError:
            outcomes.add("refused")
        try:
            StaticPrior.from_bytes(content, vocab)
        except ValueError:
            outcomes.add("no prior")
    assert outcomes == {"ids", "refused", "no prior"}


def test_a_missing_library_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "constriction", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'intaglio\[entropy\]'"):
        encode_chunk(np.zeros((1, 1), np.int64), StaticPrior.of([np.array([1, 1])]))
