"""Parts that come with the package are found by name, wherever a codec or a generator is named."""

import json

import pytest
import torch

from intaglio.codecs import load
from intaglio.codecs.bundle import fingerprint, load_part, read_config, save
from intaglio.codecs.part import Part
from intaglio.codecs.shipped import CARD, FOLDER, located, shipped, shipped_names
from intaglio.generators import load as load_generator

NAMES = [(name, kind) for kind in ("codec", "generator") for name in shipped_names([kind])]


def test_both_kinds_come_with_the_package() -> None:
    assert {("speech", "codec"), ("emoji", "codec"), ("emoji", "generator")} <= set(NAMES)


@pytest.mark.parametrize(("name", "kind"), NAMES)
def test_each_is_small_loads_as_float32_and_keeps_its_fingerprint(name, kind) -> None:
    folder = shipped(name, kind)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 20e6
    part = load_part(name, Part, kind)
    assert {p.dtype for p in part.parameters()} == {torch.float32}
    config = json.loads((folder / "config.json").read_text())
    loaded = load(name) if kind == "codec" else load_generator(name)
    assert fingerprint(loaded) == config["fingerprint"]


@pytest.mark.parametrize(("name", "kind"), NAMES)
def test_a_copy_in_float32_has_the_same_fingerprint(name, kind, tmp_path) -> None:
    copy = save(load_part(name, Part, kind), tmp_path)
    assert read_config(copy)["fingerprint"] == read_config(shipped(name, kind))["fingerprint"]


@pytest.mark.parametrize("name", shipped_names())
def test_each_says_what_it_was_made_of(name) -> None:
    card = (FOLDER / name / CARD).read_text()
    for heading in ("Data", "Training", "Scores", "Licence"):
        assert f"\n## {heading}\n" in card


def test_an_own_bundle_goes_before_a_name_and_other_folders_do_not(in_tmp_path, tiny_codec) -> None:
    (in_tmp_path / "emoji").mkdir()  # recordings, say
    assert located("emoji", "codec") == shipped("emoji", "codec")
    save(tiny_codec, in_tmp_path / "emoji")
    assert load("emoji").fingerprint == tiny_codec.fingerprint
    (in_tmp_path / "emoji" / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match="no config.json"):
        load("emoji")  # the user's is incomplete; another is not taken silently


@pytest.mark.parametrize("name", ["", ".", "..", "nothing", "emoji/codec", "../weights/emoji"])
def test_other_names_are_none(name) -> None:
    assert shipped(name, "codec") is None


def test_a_wrong_name_lists_those_that_exist(in_tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no codec at emojy: .*emoji"):
        load("emojy")
    with pytest.raises(FileNotFoundError, match=r"there is no generator at speach: .*\(emoji\)"):
        load_generator("speach")
