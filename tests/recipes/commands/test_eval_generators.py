"""``intaglio eval generator``: table, records, figures, and how it fails."""

import json
import math

import pytest
import torch

from intaglio.codecs import load
from intaglio.codecs.bundle import save
from intaglio.data.tokens import TokenShards
from intaglio.generators.conditioning.text import TextCondition
from intaglio.generators.image.llamagen import llamagen
from intaglio.generators.image.maskgit import maskgit
from intaglio.generators.provenance import Provenance

SHARES = ("--validation-share", 0.2, "--test-share", 0.4)
QUICK = (*SHARES, "--features", "pixels")


@pytest.fixture(scope="module")
def shards(tokens):
    return tokens("eval")


@pytest.fixture(scope="module")
def generators(image_bundle, tmp_path_factory):
    """Bundles of a class-conditional and of a text-conditional generator."""
    codec, folder = load(image_bundle), tmp_path_factory.mktemp("generators")
    torch.manual_seed(0)
    size = {"shape": (4, 4), "vocab": codec.vocab}
    made = {
        "classes": llamagen("tiny", num_classes=3, **size),
        "texts": maskgit("tiny", condition=TextCondition(), steps=2, **size),
    }
    for name, generator in made.items():
        generator.provenance = Provenance(codec.name, codec.fingerprint, ("blue", "green", "red"))
        save(generator.eval(), folder / name)
    return folder


def test_table_records_and_figures(intaglio, generators, shards, image_bundle, tmp_path):
    pytest.importorskip("matplotlib", reason="pip install 'intaglio[demo]'")
    status, out, err = intaglio(
        "eval", "generator", generators / "classes", generators / "texts", "--codec", image_bundle,
        "--data", shards, *QUICK, "--items", 5, "--json", tmp_path / "e.json",
        "--plot", tmp_path / "figures", "--guidance", 2,
    )  # fmt: skip
    assert status == 0, err
    data = TokenShards(str(shards), validation_share=0.2, test_share=0.4)
    data.setup()
    held = len(data.readers["test"])
    assert f"{held} items of" in out and "(test), 5 images drawn" in out
    assert "≤ 6.238" in out and "a bound: mean over random orders" in out
    assert "class: always the most frequent" in out
    classes, texts, *controls = json.loads((tmp_path / "e.json").read_text())
    assert (classes["system"], texts["system"]) == ("llamagen", "maskgit")
    assert [one["system"] for one in controls] == [
        "real, held out", "real, training", "unigram", "bigram", "position unigram",
        "class-position unigram",
    ]  # fmt: skip
    for one in (classes, texts):
        assert one["name"] == str(shards) and one["items"] == 5
        assert one["metrics"]["nll"] == pytest.approx(math.log(512), abs=1e-4)
        assert one["bits"] == pytest.approx(144, abs=0.01)
        assert one["sampling"]["guidance"] == 2 and one["sampling"]["temperature"] == 1
        assert 0 <= one["metrics"]["class_accuracy"] <= 1
    assert "conditioned on classes" in classes["absent"]["caption_retrieval"]
    assert "qualified" not in classes and "a bound" in texts["qualified"]["nll"]
    assert controls[0]["items"] == held and "sampling" not in controls[0]
    assert controls[2]["alpha"] > 0 and controls[2]["metrics"]["nll"] > 0
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == ["llamagen-samples.png", "maskgit-samples.png"]


def test_two_of_one_name_and_seed(intaglio, generators, shards, image_bundle, tmp_path):
    base = (
        "eval",
        "generator",
        *[generators / "texts"] * 2,
        "--codec",
        image_bundle,
        "--data",
        shards,
        *QUICK,
    )
    found = []
    for number, more in enumerate([(), ("--sample-seed", 9)]):
        path = tmp_path / f"{number}.json"
        assert intaglio(*base, "--items", 4, *more, "--json", path).status == 0
        one, two = json.loads(path.read_text())[:2]
        assert (one.pop("system"), two.pop("system")) == ("maskgit", "maskgit#2")
        assert one == two
        found.append(one["metrics"])
    first, other = found
    assert first["nll"] == other["nll"] and first["KD[pixels@16]"] != other["KD[pixels@16]"]


def test_wrong_words_are_one_line(
    intaglio, refusal, generators, shards, image_bundle, bundle, tmp_path, tmp_path_factory
):
    words = ("--codec", image_bundle, "--data", shards, *QUICK)
    base = ("eval", "generator", generators / "classes", *words)
    line = refusal(*base, "--figures", tmp_path, status=2)
    assert line.startswith("unrecognized arguments: --figures ") and "eval generator --help" in line
    assert "--items: it is a whole number from 2" in refusal(*base, "--items", 1, status=2)
    assert "--limit is at least 2" in refusal(*base, "--limit", 1, status=2)
    line = refusal(*base, "--split", "all", status=2)
    assert "invalid choice: 'all' (choose from 'test', 'validation')" in line
    assert "takes 16 steps, not 3" in refusal(*base, "--steps", 3)
    assert "guidance scale" in refusal(*base, "--guidance", -1, status=2)
    assert "required: GENERATOR" in refusal("eval", "generator", *words, status=2)
    line = refusal("eval", "generator", image_bundle, *words)
    assert "holds ImageCodec, not a generator; a codec is given with --codec" in line
    assert "not a codec of images" in refusal(
        "eval", "generator", generators / "classes", "--codec", bundle, "--data", shards
    )
    none = (*base[:-6], "--features", "pixels", "--test-share", 0)
    assert "0 items of the test side" in refusal(*none)
    assert "there is no such folder of token shards" in refusal(
        "eval",
        "generator",
        generators / "classes",
        "--codec",
        image_bundle,
        "--data",
        tmp_path / "x",
    )


def test_a_generator_of_another_codec_is_refused(
    refusal, generators, shards, image_bundle, tmp_path
):
    from intaglio.generators import load as load_generator

    other = load_generator(generators / "classes")
    other.provenance = Provenance("another", "1" * 32, other.provenance.classes)
    save(other, tmp_path / "other")
    line = refusal(
        "eval", "generator", tmp_path / "other", "--codec", image_bundle, "--data", shards, *QUICK
    )
    assert "draws tokens of another 111111111111, not of tiny picture" in line
