"""Text from anyone cannot steer a terminal."""

import os

import pytest

from intaglio.data.formats.printable import first_of, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.wav", "plain name.wav"),
        ("Grüße 日本語 👩\u200d🎨\xa0.wav", "Grüße 日本語 👩\u200d🎨\xa0.wav"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("a\rb\nc\td\x7f\x9b", r"a\rb\nc\td\x7f\x9b"),
        ("gnp.\u202egpj\u2028", r"gnp.\u202egpj\u2028"),
        (os.fsdecode(b"caf\xe9.wav"), r"caf\udce9.wav"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text, shown):
    assert printable(text) == shown
    printable(text).encode()


def test_the_first_of_many_names():
    assert first_of(["a", "\x1b"]) == r"a, \x1b"
    assert first_of(list("abcde")) == "a, b, c and 2 more"
    assert first_of(list("abcde"), 1, joined_by="; ") == "a and 4 more"
    assert first_of([]) == ""
