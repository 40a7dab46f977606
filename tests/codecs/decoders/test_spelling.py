"""Texts as numbers, alignments, and distances of texts."""

import pytest

from intaglio.codecs.decoders.spelling import (
    SYMBOLS,
    collapsed,
    edit_distance,
    normalised,
    spelled,
    symbols,
)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("  Don’t   STOP, now! ", "don't stop now"),
        ("Étude №5", "étude no5"),
        ("привет—мир", "привет мир"),
        ("...", ""),
    ],
)
def test_texts_are_normalised_and_come_back(text, kept):
    assert normalised(text) == kept
    numbers = symbols(text)
    assert all(0 < number < SYMBOLS for number in numbers)
    assert spelled(numbers) == kept


def test_half_a_letter_is_spelled_as_a_replacement():
    assert spelled(symbols("é")[:1]) == "\N{REPLACEMENT CHARACTER}"


def test_an_alignment_merges_repetitions_and_drops_blanks():
    assert collapsed([0, 5, 5, 0, 5, 7, 7, 0]) == [5, 5, 7]
    assert collapsed([0, 0]) == []


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [("", "", 0), ("abc", "", 3), ("", "ab", 2), ("kitten", "sitting", 3), ("abcd", "bcde", 2)],
)
def test_distances_by_hand(a, b, distance):
    assert edit_distance(a, b) == edit_distance(b, a) == distance
