"""Text from anyone, such as a file name, made safe to print.

A terminal obeys control characters: they clear the screen, change its title, or hide what a line
says. Direction marks make a name look like another one, and half a surrogate pair, which stands for
a byte that is no UTF-8, cannot be printed at all.
"""

import unicodedata
from collections.abc import Sequence

CATEGORIES = ("Cc", "Cs", "Zl", "Zp")  # controls, surrogates, separators of lines and paragraphs
DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    """The text with such characters written as in Python's source: ``\\x1b``, ``\\u202e``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _escaped(character) if _is_unsafe(character) else character for character in text
    )


def first_of(names: Sequence[str], most: int = 3, *, joined_by: str = ", ") -> str:
    """The first few of some names, safe to print, and how many more there are."""
    shown = [printable(name) for name in names[:most]]
    rest = len(names) - len(shown)
    return joined_by.join(shown) + (f" and {rest} more" if rest else "")


def _is_unsafe(character: str) -> bool:
    return character in DIRECTIONS or unicodedata.category(character) in CATEGORIES


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun.

    >>> counted(1, "file"), counted(2000, "file"), counted(0, "class", "classes")
    ('1 file', '2,000 files', '0 classes')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
