"""No code runs because a file names it, unless this package ships it or the user trusts it."""

import inspect
import re
import sys

import pytest
import torch

from intaglio.codecs import AudioCodec, load
from intaglio.codecs.bundle import save
from intaglio.codecs.losses.perceptual import FeatureNetwork
from intaglio.codecs.part import Part, build, describe
from intaglio.codecs.trust import maker, shipped_modules, trusting

ROUNDING = '''
"""A quantizer of somebody else."""

import torch
from intaglio.codecs.part import Part
from intaglio.codecs.quantizers.base import Quantized, Quantizer
from torch import Tensor


class Rounding(Quantizer):
    def __init__(self, dim: int, offset: int = -3) -> None:
        super().__init__()
        self.dim, self.offset, self.vocab = dim, offset, (7,) * dim
        assert float(torch.zeros(10_000).sum()) == 0  # it needs values, not shapes alone

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        ids = self.encode_ids(latents)
        rounded = self.decode_ids(ids)
        return Quantized(latents + (rounded - latents).detach(), ids, {}, {})

    def encode_ids(self, latents: Tensor) -> Tensor:
        return (latents.clamp(-1, 1) * 3).round().long() - self.offset

    def decode_ids(self, ids: Tensor) -> Tensor:
        return (ids + self.offset) / 3


def rounding() -> Rounding:
    return Rounding(2)


def anything():
    return Rounding(2)
'''


@pytest.fixture
def mylib(in_tmp_path, monkeypatch):
    """A module of the user that can be imported and has not been; gives its name."""
    (in_tmp_path / "mylib.py").write_text(ROUNDING)
    monkeypatch.syspath_prepend(in_tmp_path)
    yield "mylib"
    sys.modules.pop("mylib", None)


@pytest.mark.parametrize(
    "path",
    [
        "mylib.Rounding",
        "mylib.sub.Rounding",
        "__main__.Part",
        "builtins.print",
        "os.system",
        "intaglio.mylib.Part",
        "intaglio.codecs.part.os.system",
        "intaglio.codecs.trust.importlib.import_module",
        "intaglio.codecs.quantizers.fsq.FSQ.__init__",
        "intaglio.codecs.quantizers.fsq.torch",
        "intaglio.codecs.part.Part.__class__",
        "intaglio.codecs.load.load",
        "intaglio.codecs.bundle.restore",
        "intaglio.codecs.bundle.read",
        "intaglio.codecs.task.CodecTask",
        "intaglio.generators.load.load",
        "intaglio.recipes.__main__.main",
        "intaglio.codecs.losses.lpips.LPIPS",
        "intaglio.codecs.losses.lpips.VGG16",
        "intaglio.codecs.losses.perceptual.EfficientNetLite",
        "intaglio.codecs.losses.perceptual.efficientnet_lite0",
        "intaglio.codecs.losses.whisper.WhisperEncoder",
        "..codecs.quantizers.fsq.FSQ",
        "FSQ",
        "",
        None,
        3,
        ["intaglio.codecs.quantizers.fsq.FSQ"],
    ],
)
def test_what_is_no_part_of_the_package_is_refused_by_its_name(mylib, path):
    before = set(sys.modules)
    with pytest.raises(ValueError, match="refused to build|there is no"):
        maker(path, Part)
    new = set(sys.modules) - before
    assert mylib not in new and "lightning" not in new
    assert all(name in shipped_modules() for name in new if name.startswith("intaglio"))


def test_what_only_hangs_at_a_module_of_the_package_is_refused(monkeypatch):
    class Foreign(Part):
        pass

    monkeypatch.setattr("intaglio.codecs.quantizers.fsq.Foreign", Foreign, raising=False)
    with pytest.raises(ValueError, match="it is not a part of intaglio"):
        maker("intaglio.codecs.quantizers.fsq.Foreign", Part)


def test_a_refusal_says_how_to_trust_a_library_and_no_more_than_one_line():
    with pytest.raises(ValueError, match=r"pass --trust mylib \(in Python, trust=\['mylib'\]\)"):
        maker("mylib.Rounding", Part)
    for path in ("os.system", "intaglio.nowhere.x", "a\nb.c", "x" * 10_000):
        with pytest.raises(ValueError) as error:
            maker(path, Part)
        assert "--trust" not in str(error.value) and "\n" not in str(error.value)
        assert len(str(error.value)) < 200


def test_every_part_and_builder_of_the_package_is_admitted_by_its_own_path():
    from intaglio.codecs.audio.encodec import encodec
    from intaglio.generators.image.llamagen import llamagen

    for made in (AudioCodec, encodec, llamagen):
        assert maker(f"{made.__module__}.{made.__qualname__}", Part) is made
    shown = "intaglio.codecs.quantizers.FSQ"  # as its folder shows it
    assert maker(shown, Part).__module__ == "intaglio.codecs.quantizers.fsq"


def test_no_part_that_a_file_may_name_takes_the_path_of_a_file():
    """A new argument of type str has to be looked at, and added here if it names no file."""
    found = set()
    for name in sorted(shipped_modules()):
        for kind in vars(sys.modules.get(name) or __import__(name, fromlist=["x"])).values():
            if not inspect.isclass(kind) or kind.__module__ != name or not issubclass(kind, Part):
                continue
            if kind.loadable:
                for argument in inspect.signature(kind).parameters.values():
                    if re.search(r"\b(str|Path)\b", str(argument.annotation)):
                        found.add(f"{kind.__name__}.{argument.name}")
    assert not issubclass(FeatureNetwork, Part) or not FeatureNetwork.loadable
    allowed = {"AudioCodec.name", "ImageCodec.name", "Codec.name", "Generator.name"}
    assert found - allowed == {"EncodedText.encoder"}, "see `intaglio.codecs.trust`"


@pytest.fixture
def own_bundle(mylib, tiny_codec, tmp_path):
    """A bundle of a codec with the user's quantizer, whose module is not imported yet."""
    recipe = describe(tiny_codec)
    recipe["init_args"]["quantizer"] = {"class_path": "mylib.Rounding", "init_args": {"dim": 8}}
    with trusting([mylib]):
        codec = build(recipe).eval()
    save(codec, tmp_path / "own")
    del sys.modules[mylib]
    return tmp_path / "own", codec


def test_a_part_of_the_user_loads_if_it_is_trusted(own_bundle, mylib):
    folder, codec = own_bundle
    with pytest.raises(ValueError, match=r"refused to build 'mylib.Rounding'.*--trust mylib"):
        load(folder)
    with pytest.raises(ValueError, match=r"refused to build 'mylib.Rounding'"):
        load(folder, trust=["other", "myli"])
    assert mylib not in sys.modules
    loaded = load(folder, trust=[mylib])
    wave = torch.randn(1, 1, 100)
    assert torch.equal(loaded.encode(wave).ids, codec.encode(wave).ids)
    assert loaded.fingerprint == codec.fingerprint
    with pytest.raises(ValueError, match="refused"):  # the trust ends with the call
        load(folder)


def test_trust_admits_parts_and_their_builders_only(mylib):
    with trusting([mylib]):
        assert type(build({"class_path": "mylib.rounding"})).__name__ == "Rounding"
        for path in ("mylib.anything", "mylib.Tensor", "mylib.Quantized"):
            with pytest.raises(ValueError, match="not a part"):
                maker(path, Part)
        for path in ("mylib.nothing", "mylib.os.system"):
            with pytest.raises(ValueError, match="there is no"):
                maker(path, Part)


@pytest.mark.parametrize("name", ["", "../mylib", "my lib", "mylib."])
def test_only_modules_can_be_trusted(name):
    with pytest.raises(ValueError, match="only modules can be trusted"), trusting([name]):
        pass
