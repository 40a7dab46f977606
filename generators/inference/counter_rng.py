"""Random numbers that are functions of a seed and a position, and of nothing else.

Philox4x32-10 (Salmon et al., 2011), a counter-based generator, on plain integer tensors: an item
gets the same numbers in any batch, in any order of its positions, and however often one asks. Where
each id of a codebook needs a number, Philox gives a key and SplitMix64 (Steele et al., 2014), which
takes a tenth of the operations, the numbers.
"""

import enum
from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.generators.inference.kernels.choice import has_numbers

WORD = 0xFFFFFFFF
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
STEPS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # SplitMix64's numbers, as signed words of 64 bits
MIXERS = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64))
MAX_CACHED = 32  # numbers of a position that are kept for all positions
MAX_NOISE = 1 << 21  # Gumbel numbers that are kept, of all positions of a batch


class Role(enum.IntEnum):
    """What a number is for; numbers of different roles are independent."""

    TOKEN = 0
    NOISE = 1
    CONFIDENCE = 2
    ORDER = 3
    DRAFT = 4
    ACCEPTANCE = 5
    RESIDUAL = 6


class Ahead(NamedTuple):
    """Numbers of all positions in round 0 at once, for a caller that needs them bit by bit.

    Attributes:
        number: of the position, if it is one for all items.
        everywhere: draws of all positions from 0 on.
        kept: words computed so far, by role and count, and Gumbel numbers by role and sizes; the
            same for all positions.
    """

    number: int | None
    everywhere: "Draws"
    kept: dict[tuple[int, int | tuple[int, ...]], Tensor]

    def words(self, role: Role, count: int, positions: Tensor) -> Tensor:
        """The first words of these positions, as `Draws.words`."""
        found = self.kept.get((role, count))
        if found is None:
            found = self.kept[role, count] = self.everywhere.words(role, count)
        return self._at(found, positions)

    def gumbels(self, role: Role, sizes: tuple[int, ...], positions: Tensor) -> Tensor | None:
        """Gumbel numbers of these positions, [batch, positions, sum(sizes)], as `Draws.gumbels`;
        None if those of all positions are too many to be kept."""
        seeds, places = self.everywhere.seeds, self.everywhere.positions
        if len(seeds) * places.shape[-1] * sum(sizes) > MAX_NOISE:
            return None
        found = self.kept.get((role, sizes))
        if found is None:
            found = torch.cat(self.everywhere.gumbels(role, sizes), -1)
            self.kept[role, sizes] = found
        return self._at(found, positions)

    def _at(self, found: Tensor, positions: Tensor) -> Tensor:
        if self.number is not None:
            return found[:, self.number : self.number + 1]
        if len(positions) == 1:
            return found.index_select(1, positions[0])
        index = positions.unsqueeze(-1).expand(len(found), -1, found.shape[-1])
        return found.gather(1, index)


class Draws(NamedTuple):
    """Numbers for some positions of each item of a batch.

    Attributes:
        seeds: int64 [batch], one of each item.
        positions: int64 [batch, positions], or [1, positions] if all items have the same.
        round: which time these positions are drawn; other rounds give other numbers. One for all
            items, or int64 [batch].
        ahead: where the numbers of round 0 may be found already.
    """

    seeds: Tensor
    positions: Tensor
    round: int | Tensor = 0
    ahead: Ahead | None = None

    def uniform(self, role: Role, count: int = 1, *, first: int = 0) -> Tensor:
        """float64 [batch, positions, count], in (0, 1), with 52 random bits.

        Args:
            role: what the numbers are for.
            count: how many for each position.
            first: index of the first of them in the position's endless row of numbers.
        """
        words = self.words(role, count, first=first)
        high, low = words[..., 0::2] >> 6, words[..., 1::2] >> 6
        return ((high << 26 | low).double() + 0.5) * 2.0**-52

    def normal(self, role: Role, count: int = 1, *, first: int = 0) -> Tensor:
        """float32 [batch, positions, count], standard normal; arguments as in `uniform`."""
        return torch.special.ndtri(self.uniform(role, count, first=first)).float()

    def keys(self, role: Role, count: int = 1) -> Tensor:
        """int64 [batch, positions, count], of 64 random bits: what `gumbel` takes."""
        words = self.words(role, count)
        return words[..., 0::2] << 32 | words[..., 1::2]

    def gumbels(self, role: Role, sizes: tuple[int, ...]) -> list[Tensor]:
        """Standard Gumbel numbers of groups of so many ids, float32 [batch, positions, size]."""
        ahead = self.ahead if self._is_first() else None
        kept = None if ahead is None else ahead.gumbels(role, sizes, self.positions)
        if kept is not None:
            return list(kept.split(sizes, -1))
        keys = self.keys(role, len(sizes)).unbind(-1)
        return [gumbel(key, size) for key, size in zip(keys, sizes, strict=True)]

    def words(self, role: Role, count: int, *, first: int = 0) -> Tensor:
        """int64 [batch, positions, 2 * count], each of 32 bits; arguments as in `uniform`."""
        if self.ahead is not None and self._is_first() and not first and count <= MAX_CACHED:
            return self.ahead.words(role, count, self.positions)
        blocks = range(first // 2, -(-(first + count) // 2))
        words = self._words(role, blocks)
        return words[..., 2 * (first % 2) :][..., : 2 * count]

    def _words(self, role: Role, blocks: range) -> Tensor:
        """All words of some blocks of four, int64 [batch, positions, 4 * blocks]."""
        device = self.seeds.device
        number = self.round
        if isinstance(number, int):
            number = torch.full((1,), number, device=device)
        if has_numbers(device):
            from intaglio.generators.inference.kernels.numbers import words

            return words(self.seeds, self.positions.to(device), number, int(role), blocks)
        shape = (len(self.seeds), self.positions.shape[-1], len(blocks))
        counter = [
            torch.arange(blocks.start, blocks.stop, device=device).expand(shape),
            self.positions.to(device).unsqueeze(-1).expand(shape) & WORD,
            torch.full((1, 1, 1), int(role), device=device).expand(shape),
            number.view(-1, 1, 1).expand(shape),
        ]
        seeds = self.seeds.view(-1, 1, 1)
        return torch.stack(philox(counter, (seeds & WORD, seeds >> 32 & WORD)), -1).flatten(-2)

    def _is_first(self) -> bool:
        """Whether these are the numbers of round 0, for all items."""
        return isinstance(self.round, int) and self.round == 0


def philox(counter: list[Tensor], key: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Four random words of 32 bits for four words of a counter, all int64 of one shape."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        first, second = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (second >> 32 & WORD) ^ c1 ^ k0,
            second & WORD,
            (first >> 32 & WORD) ^ c3 ^ k1,
            first & WORD,
        )
        k0, k1 = k0 + STEPS[0] & WORD, k1 + STEPS[1] & WORD
    return [c0, c1, c2, c3]


def gumbel(keys: Tensor, count: int) -> Tensor:
    """Standard Gumbel numbers, float32 [..., count]: those of an index depend on it and its key.

    Args:
        keys: int64 [...], of 64 random bits (`Draws.keys`).
        count: how many for each key.
    """
    index = torch.arange(1, count + 1, device=keys.device)
    words = splitmix(keys.unsqueeze(-1), index).bitwise_right_shift_(11).bitwise_and_((1 << 53) - 1)
    # the small numbers keep their bits, and with them the tail that decides who wins a race
    uniform = words.double().add_(0.5).mul_(2.0**-53).float().clamp_(max=1 - 2.0**-24)
    return uniform.neg_().log1p_().neg_().log_().neg_()


def splitmix(seed: Tensor, index: Tensor) -> Tensor:
    """Word of 64 bits of SplitMix64 for a seed and the index of its output, from 1 on; int64."""
    word = seed + index * GOLDEN  # modulo 2^64
    for shift, multiplier in MIXERS:
        word.bitwise_xor_(word >> shift & (1 << 64 - shift) - 1).mul_(multiplier)
    return word.bitwise_xor_(word >> 31 & (1 << 33) - 1)
