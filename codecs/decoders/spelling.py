"""Texts as the bytes of their letters: what a recogniser writes, and how wrong it is.

The number 0 is the blank of CTC, and begin and end of a text for an attention decoder; a byte b of
UTF-8 is b + 1. So every language is spelled, with no list of letters to keep.
"""

import itertools
import unicodedata
from collections.abc import Sequence

BLANK = 0
SYMBOLS = 257


def normalised(text: str) -> str:
    """Letters, digits and apostrophes in lower case, with one space between words."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    kept = (c if c.isalnum() or c == "'" or unicodedata.category(c) == "Mn" else " " for c in text)
    return " ".join("".join(kept).split())


def symbols(text: str) -> list[int]:
    """Numbers in [1, 257) of a text, normalised."""
    return [byte + 1 for byte in normalised(text).encode()]


def spelled(numbers: Sequence[int]) -> str:
    """Text of numbers; blanks are left out, and what is no UTF-8 becomes the replacement letter."""
    return bytes(n - 1 for n in numbers if n != BLANK).decode(errors="replace")


def collapsed(path: Sequence[int]) -> list[int]:
    """What an alignment of CTC says: repetitions count once, blanks not at all."""
    return [number for number, _ in itertools.groupby(path) if number != BLANK]


def edit_distance(a: Sequence[object], b: Sequence[object]) -> int:
    """Fewest insertions, deletions and substitutions that make ``b`` of ``a`` (Levenshtein)."""
    row = list(range(len(b) + 1))
    for count, one in enumerate(a, start=1):
        before, row[0] = row[0], count
        for column, other in enumerate(b, start=1):
            best = min(row[column] + 1, row[column - 1] + 1, before + (one != other))
            before, row[column] = row[column], best
    return row[-1]
