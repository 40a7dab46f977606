"""Which records are evaluated, and what is kept of their items."""

from types import SimpleNamespace

import pytest
import torch

from intaglio.data.manifest import Record, split_of
from intaglio.recipes.evaluation.items import (
    Item,
    ItemSet,
    by_name,
    choose,
    evenly_spaced,
    read_items,
)


def test_the_test_split_is_that_of_training():
    found = [Record(f"{n}.wav", text=f"sentence number {n}") for n in range(200)]
    chosen = choose(found, "test", shares=(0.1, 0.2), seed=3)
    assert 20 < len(chosen) < 60
    assert all(split_of(one.text, (0.1, 0.2), 3) == "test" for one in chosen)
    assert not set(chosen) & set(choose(found, "validation", shares=(0.1, 0.2), seed=3))
    assert choose(found, "all", shares=(0.1, 0.2)) == found


def test_a_limit_takes_recordings_from_everywhere():
    found = [Record(f"{n}.wav") for n in range(10)]
    assert choose(found, "all", shares=(0, 0), limit=3) == [found[0], found[3], found[6]]
    assert choose(found, "all", shares=(0, 0), limit=99) == found


def test_a_limit_below_one_and_an_empty_side_are_refused():
    found = [Record("a.wav")]
    with pytest.raises(ValueError, match="--limit must be at least 1, got 0"):
        choose(found, "all", shares=(0, 0), limit=0)
    with pytest.raises(ValueError, match="none of 1 file is in the test split; use --split all"):
        choose(found, "test", shares=(0, 0))


def test_indices_are_evenly_spaced():
    assert evenly_spaced(10, 4) == [0, 2, 5, 7] and evenly_spaced(3, 1) == [0]
    assert evenly_spaced(3) == evenly_spaced(3, 8) == [0, 1, 2] and evenly_spaced(0, 4) == []


def test_things_of_one_name_are_numbered():
    one, two, other = (SimpleNamespace(name=name) for name in ("a", "a", "b"))
    assert by_name([one, two, other]) == {"a": one, "a#2": two, "b": other}


def test_features_are_computed_once_for_each_network():
    calls = []

    def mean(contents):
        calls.append(len(contents))
        return torch.stack([one.mean() for one in contents]).unsqueeze(1)

    originals = ItemSet([Item("a", torch.ones(4), 8000, "yes"), Item("b", torch.zeros(4), 8000)])
    decoded = originals.decoded([torch.zeros(4), torch.ones(4)])
    assert originals.features(mean).tolist() == originals.features(mean).tolist() == [[1], [0]]
    assert decoded.features(mean).tolist() == [[0], [1]] and calls == [2, 2]
    assert (decoded.items[0].text, decoded.items[0].sample_rate) == ("yes", 8000)


def test_items_that_cannot_be_read_are_named_and_left_out(tmp_path, capsys):
    def read(record):
        if record.path == "bad":
            raise ValueError("bad is damaged")
        return Item(record.path, torch.ones(1))

    found = read_items(tmp_path, [Record("a"), Record("bad")], read)
    assert [item.name for item in found] == ["a"]
    assert "intaglio: skipped: bad is damaged" in capsys.readouterr().err
    with pytest.raises(ValueError, match="none of 1 file in .* can be read"):
        read_items(tmp_path, [Record("bad")], read)
