"""Which recordings are evaluated, and the names under which decoded ones are written."""

import pytest

from intaglio.data.manifest import Record, split_of
from intaglio.recipes.evaluation.audio.recordings import file_name
from intaglio.recipes.evaluation.items import choose


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


@pytest.mark.parametrize("name", ["..", "../..", "/a/b", "a/../b"])
def test_a_folder_for_a_system_lies_within_its_parent(name, tmp_path):
    assert (tmp_path / file_name(name)).resolve().is_relative_to(tmp_path)
