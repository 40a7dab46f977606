import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from intaglio.codecs import part, trust
from intaglio.codecs.audio.speech_small import speech_small
from intaglio.codecs.bundle import fingerprint, load_part, save
from intaglio.codecs.part import Part, build, describe
from intaglio.codecs.quantizers.fsq import FSQ


class Outer(Part):
    def __init__(self, inner: Part, sizes: tuple[int, ...] = (1, 2), name: str | None = None):
        super().__init__()
        self.inner = inner


def test_a_description_holds_every_argument_and_its_nested_parts():
    recipe = describe(Outer(FSQ(8, levels=[5, 5]), name="x"))
    assert recipe["init_args"]["sizes"] == [1, 2]
    assert recipe["init_args"]["name"] == "x"
    assert recipe["init_args"]["inner"] == {
        "class_path": "intaglio.codecs.quantizers.fsq.FSQ",
        "init_args": {
            "dim": 8,
            "levels": [5, 5],
            "standardise": None,
            "noise_dropout": 0.0,
            "margin": 1e-3,
        },
    }


def test_a_short_description_leaves_defaults_out_at_every_depth():
    """So that an option which a later version adds does not change what older parts hash to."""
    recipe = describe(Outer(FSQ(8, levels=(8, 5, 5, 5)), sizes=[1, 2]), defaults=False)
    assert recipe["init_args"] == {
        "inner": {"class_path": "intaglio.codecs.quantizers.fsq.FSQ", "init_args": {"dim": 8}}
    }
    other = describe(Outer(FSQ(8, levels=[5, 5]), sizes=(2, 1), name="x"), defaults=False)
    assert other["init_args"]["inner"]["init_args"] == {"dim": 8, "levels": [5, 5]}
    assert other["init_args"]["sizes"] == [2, 1]
    assert other["init_args"]["name"] == "x"


def test_a_codec_is_rebuilt_with_the_same_description_and_shapes():
    codec = speech_small(levels=(4, 4, 4))
    again = build(describe(codec))
    assert describe(again) == describe(codec)
    shapes = {name: value.shape for name, value in codec.state_dict().items()}
    assert {name: value.shape for name, value in again.state_dict().items()} == shapes


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "torch.nn.Linear",
        "intaglio_evil.Part",
        "intaglio.codecs.bundle.torch.load",
        "intaglio.codecs.bundle.save",
        "intaglio.codecs.part.importlib.import_module",
        "intaglio.codecs.load.load_nothing",
        "intaglio.nowhere.Part",
        "intaglio.recipes.__main__.main",
        42,
    ],
)
def test_foreign_paths_are_refused_at_any_depth(path):
    recipe = describe(speech_small(levels=(4, 4, 4)))
    recipe["init_args"]["quantizer"]["init_args"]["dim"] = [{"class_path": path, "init_args": {}}]
    with pytest.raises(ValueError, match="refused|there is no"):
        build(recipe)


def test_a_folder_that_poses_as_the_package_is_not_imported(in_tmp_path, monkeypatch):
    (in_tmp_path / "intaglio").mkdir()
    (in_tmp_path / "intaglio" / "posing.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(in_tmp_path)
    with pytest.raises(ValueError, match="refused"):
        build({"class_path": "intaglio.posing.Part", "init_args": {}})


def test_nothing_is_built_before_all_paths_are_checked(monkeypatch):
    built = []
    monkeypatch.setattr(FSQ, "__init__", lambda self, **_: built.append(1))
    bad = {"class_path": "os.system", "init_args": {}}
    fsq = {"class_path": "intaglio.codecs.quantizers.fsq.FSQ", "init_args": {"dim": 2}}
    with pytest.raises(ValueError, match=r"os\.system"):
        build([fsq, bad])
    assert not built


def test_arguments_that_do_not_fit_are_reported():
    recipe = {"class_path": "intaglio.codecs.quantizers.fsq.FSQ", "init_args": {"dimm": 2}}
    with pytest.raises(ValueError, match="dimm"):
        build(recipe)


def test_arguments_that_are_no_plain_data_are_refused():
    with pytest.raises(ValueError, match="Linear"):
        describe(Outer(nn.Linear(1, 1)))


@pytest.fixture
def define(monkeypatch):
    """Defines a class in a new module of the package."""

    def put(kind: type, name: str) -> None:
        module = ModuleType(name)
        setattr(module, kind.__name__, kind)
        kind.__module__ = name
        monkeypatch.setitem(sys.modules, name, module)
        shipped = trust.shipped_modules() | {name}
        monkeypatch.setattr(trust, "shipped_modules", lambda: shipped)

    return put


def scaled() -> type[Part]:
    """A new class of parts, which its module is going to define."""

    class Scaled(Part):
        def __init__(self, size: int, inner: Part | None = None):
            super().__init__()
            self.scale = nn.Parameter(torch.randn(size))
            self.inner = inner

    Scaled.__qualname__ = "Scaled"
    return Scaled


def test_a_part_moves_with_one_line_and_its_bundles_stay_valid(define, monkeypatch, tmp_path):
    old, new = "intaglio.codecs.layers.before", "intaglio.codecs.quantizers.after"
    kind = scaled()
    define(kind, old)
    saved = kind(3, kind(2))
    before = fingerprint(saved)
    save(saved, tmp_path / "bundle")

    monkeypatch.delitem(sys.modules, old)
    kind = scaled()
    define(kind, new)
    with pytest.raises(ValueError, match=f"no {old}.Scaled"):
        load_part(tmp_path / "bundle", kind, "part")
    monkeypatch.setitem(part.WRITTEN_PATHS, f"{new}.Scaled", f"{old}.Scaled")
    loaded = load_part(tmp_path / "bundle", kind, "part")
    assert type(loaded) is type(loaded.inner) is kind
    assert torch.equal(loaded.scale, saved.scale) and fingerprint(loaded) == before
    assert describe(loaded)["class_path"] == f"{old}.Scaled"
    again = save(loaded, tmp_path / "again")
    for name in ("config.json", "model.safetensors"):
        assert (again / name).read_bytes() == (tmp_path / "bundle" / name).read_bytes()
    assert isinstance(build({"class_path": f"{new}.Scaled", "init_args": {"size": 1}}), kind)


def test_a_line_for_a_move_opens_no_door(monkeypatch):
    monkeypatch.setitem(part.WRITTEN_PATHS, "os.system", "intaglio.codecs.old.Part")
    with pytest.raises(ValueError, match="refused"):
        build({"class_path": "intaglio.codecs.old.Part", "init_args": {}})


def test_recipes_before_and_after_a_move_are_compared_as_written(monkeypatch):
    monkeypatch.setitem(part.WRITTEN_PATHS, "intaglio.new.A", "intaglio.old.A")
    moved = {"x": [{"class_path": "intaglio.new.A", "init_args": {"size": 1}}]}
    assert part.as_written(moved) == {
        "x": [{"class_path": "intaglio.old.A", "init_args": {"size": 1}}]
    }
    assert part.as_written(part.as_written(moved)) == part.as_written(moved) != moved
