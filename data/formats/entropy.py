"""Entropy coding of ids: a range coder driven by integer frequencies, and where those come from.

The coder is that of the library `constriction`, behind the extra ``entropy``: 64 bits of state,
words of 32 bits, frequencies that sum to 2^24. It takes frequencies as floating-point numbers; ours
are integers below 2^24, for which its arithmetic is exact, so that what one machine writes another
reads. A prior gives the frequencies; `StaticPrior` is a histogram that travels in the file.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

TOTAL = 1 << 24
MAX_ENTRIES = 1 << 20  # of all codebooks of a static prior together
IDS_PER_WORD = 256  # at most; bounds what a small file can ask for
MAX_WEIGHT_BITS = 38  # of the sum of the weights: times TOTAL it fits into int64

# Counts are stored by class: 0, 1, 2, 3, 4-5, 6-7, 8-11, 12-15 … up to 2^31.
_FIRST = np.array([0, 1, 2, *(base << shift for shift in range(30) for base in (3, 4))])
CLASSES = len(_FIRST)
_WEIGHTS = _FIRST + np.append(_FIRST[1:], 2 * _FIRST[-1]) - 1  # twice the middle: an integer


class Prior(ABC):
    """What the coder expects of the next ids, given those that the decoder has already.

    Attributes:
        block: positions that are coded together, group by group; None for all of a chunk. A prior
            that depends on the ids before, such as an autoregressive model, has 1.
    """

    block: int | None = None

    @abstractmethod
    def frequencies(self, group: int, past: Ids, present: Ids) -> NDArray[np.int64]:
        """Distribution of the ids of one group at all positions of a block.

        It must be the same on every machine: floating-point numbers that differ in the last bit
        decode to something else. `integer_frequencies` takes integer weights.

        Args:
            group: which group.
            past: int64 [positions, groups], the ids of the chunk before the block.
            present: int64 [block, group], the ids of the groups before, in the block.

        Returns:
            int64 [max(codebook size, 2)], each at least 1, of sum 2^24.
        """

    def model(self, group: int, past: Ids, present: Ids) -> Any:
        """The coder's form of `frequencies`; a prior that does not change may keep it."""
        return _model(self.frequencies(group, past, present))


class StaticPrior(Prior):
    """One distribution for each group, from counts that are rounded to classes.

    Args:
        classes: for each group, uint8 [codebook size], the class of each entry's count.
    """

    def __init__(self, classes: Sequence[NDArray[np.uint8]]) -> None:
        self.classes = list(classes)
        self._models: list[Any] = [None] * len(self.classes)

    @classmethod
    def of(cls, counts: Sequence[NDArray[np.int64]]) -> "StaticPrior":
        """Prior of counts, int64 [codebook size] for each group."""
        return cls([_class(of_group) for of_group in counts])

    @classmethod
    def from_bytes(cls, content: bytes, vocab: tuple[int, ...]) -> "StaticPrior":
        """Prior that `to_bytes` gave. While it is used, an entry takes 25 bytes of memory.

        Raises:
            ValueError: it does not fit the vocabulary.
            ModuleNotFoundError: the ``entropy`` extra is missing.
        """
        if sum(vocab) > MAX_ENTRIES:
            raise ValueError(f"{sum(vocab)} entries are too many for its prior")
        used = content[0] if content else 0
        summary = np.frombuffer(content[1 : 1 + used], np.uint8)
        if not 0 < used == len(summary) <= CLASSES or summary.max() >= CLASSES:
            raise ValueError("its prior names classes that do not exist")
        flat = decode_chunk(content[1 + used :], sum(vocab), (used,), cls([summary]))
        classes = flat[:, 0].astype(np.uint8)
        return cls(np.split(classes, np.cumsum(vocab)[:-1]))

    def to_bytes(self) -> bytes:
        """The classes, range coded under the distribution of their own counts, which come first."""
        flat = np.concatenate(self.classes).astype(np.int64)
        summary = _class(np.bincount(flat))
        head = bytes([len(summary)]) + summary.tobytes()
        return head + encode_chunk(flat[:, None], StaticPrior([summary]))

    def frequencies(self, group: int, past: Ids, present: Ids) -> NDArray[np.int64]:
        """The distribution of the group; the ids before do not matter."""
        return integer_frequencies(_weights(self.classes[group]))

    def model(self, group: int, past: Ids, present: Ids) -> Any:
        """That of the group, built once."""
        if self._models[group] is None:
            self._models[group] = super().model(group, past, present)
        return self._models[group]


def integer_frequencies(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Integer frequencies in proportion to weights, by integer arithmetic alone.

    Args:
        weights: int64 [codebook size], at least 0.

    Returns:
        int64 [max(codebook size, 2)], each at least 1, of sum 2^24.
    """
    size = max(2, len(weights))  # the coder wants a choice
    edges = np.zeros(size + 1, dtype=np.int64)
    edges[1 : len(weights) + 1] = weights
    edges >>= max(0, int(edges.sum()).bit_length() - MAX_WEIGHT_BITS)
    total = int(edges.sum())
    if total == 0:
        edges[1:], total = 1, size
    np.cumsum(edges, out=edges)
    edges *= TOTAL - size
    edges //= total
    frequencies = np.diff(edges)
    frequencies += 1
    return frequencies


def encode_chunk(ids: Ids, prior: Prior, *, ids_per_word: int = IDS_PER_WORD) -> bytes:
    """Range-coded ids [positions, groups]; whole words of 4 bytes, little-endian.

    Zeros fill what is shorter than a word for every ``ids_per_word`` ids.

    Raises:
        ModuleNotFoundError: the ``entropy`` extra is missing.
    """
    stream = _stream()
    encoder = stream.queue.RangeEncoder()
    for start, stop in _blocks(len(ids), prior):
        for group in range(ids.shape[1]):
            model = prior.model(group, ids[:start], ids[start:stop, :group])
            encoder.encode(ids[start:stop, group].astype(np.int32), model)
    words: bytes = encoder.get_compressed().astype("<u4").tobytes()
    return words.ljust(least_bytes(ids.size, ids_per_word), b"\0")


def decode_chunk(content: bytes, positions: int, vocab: tuple[int, ...], prior: Prior) -> Ids:
    """Ids [positions, groups] of what `encode_chunk` gave under an equal prior.

    Raises:
        ValueError: ``content`` cannot be decoded, or to an id outside its codebook.
        ModuleNotFoundError: the ``entropy`` extra is missing.
    """
    if len(content) % 4 or len(content) < least_bytes(positions * len(vocab)):
        raise ValueError(f"{len(content)} bytes cannot be its ids")
    stream = _stream()
    decoder = stream.queue.RangeDecoder(np.frombuffer(content, "<u4").astype(np.uint32))
    ids = np.zeros((positions, len(vocab)), np.int64)
    for start, stop in _blocks(positions, prior):
        for group in range(len(vocab)):
            model = prior.model(group, ids[:start], ids[start:stop, :group])
            try:
                ids[start:stop, group] = decoder.decode(model, stop - start)
            except AssertionError as error:
                raise ValueError("its ids cannot be decoded") from error
    if (ids >= np.array(vocab)).any():
        raise ValueError("it holds ids outside their codebooks")
    return ids


def _blocks(positions: int, prior: Prior) -> Iterator[tuple[int, int]]:
    step = prior.block or max(1, positions)
    for start in range(0, positions, step):
        yield start, min(start + step, positions)


def least_bytes(ids: int, ids_per_word: int = IDS_PER_WORD) -> int:
    """Bytes that so many range-coded ids take at least."""
    return 4 * -(-ids // ids_per_word)


def most_bytes(ids: int) -> int:
    """Bytes that they take at most: no id is less likely than 2^-24."""
    return 3 * ids + 16


def _model(frequencies: NDArray[np.int64]) -> Any:
    # The library adds 1 to each frequency and scales the rest to sum to 2^24 less their number,
    # which ours do: nothing is left to be rounded.
    return _stream().model.Categorical((frequencies - 1).astype(np.float64), perfect=False)


def _class(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    return (np.searchsorted(_FIRST, counts, side="right") - 1).astype(np.uint8)


def _weights(classes: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.asarray(_WEIGHTS[classes], np.int64)


def check_installed() -> None:
    """Ask for the coder before any work.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    _stream()


def _stream() -> Any:
    try:
        import constriction
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "entropy coding needs the package constriction: pip install 'intaglio[entropy]'"
        ) from error
    return constriction.stream
