"""Names under which decoded recordings are written."""

import pytest

from intaglio.recipes.evaluation.audio.recordings import file_name


@pytest.mark.parametrize("name", ["..", "../..", "/a/b", "a/../b"])
def test_a_folder_for_a_system_lies_within_its_parent(name, tmp_path):
    assert (tmp_path / file_name(name)).resolve().is_relative_to(tmp_path)
