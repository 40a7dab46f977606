"""``intaglio sample``: files, shards, records; resumed or alone the same; inpainting; refusals."""

import io
import json

import pytest
import torch
from PIL import Image

from intaglio.codecs import load as load_codec
from intaglio.codecs.bundle import save
from intaglio.data.formats.image import read_image, write_image
from intaglio.data.formats.shards import read_shard
from intaglio.data.image_transforms import to_pixels, to_unit
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.conditioning.text import TextCondition
from intaglio.generators.orders.masked import MaskedOrder
from intaglio.generators.orders.raster import RasterOrder
from intaglio.generators.samplers.sampler import Sampler
from intaglio.recipes.sampling.images import InpaintingRegion, image_pipeline
from intaglio.recipes.sampling.requests import SampleRequest


@pytest.fixture(scope="module")
def codec(image_bundle):
    return load_codec(image_bundle)


@pytest.fixture(scope="module")
def make(tiny_generator_of):
    return tiny_generator_of


@pytest.fixture(scope="module")
def generators(make, codec, generator_bundle, tmp_path_factory):
    """Bundles of generators: class-conditional, of texts, and one that can inpaint."""
    folder = tmp_path_factory.mktemp("generators")
    made = {
        "texts": make(codec, RasterOrder(), TextCondition(prefix=3, rows=99)),
        "masked": make(codec, MaskedOrder(16, steps=4), ClassCondition(3)),
    }
    saved = {name: save(generator, folder / name) for name, generator in made.items()}
    return saved | {"classes": generator_bundle}


@pytest.fixture
def sample(intaglio, generators, image_bundle):
    def call(kind, out, *words):
        status, _, err = intaglio(
            "sample", generators[kind], "--codec", image_bundle, "-o", out, *words
        )
        assert status == 0, err
        return {path.name: path.read_bytes() for path in sorted(out.iterdir())}

    return call


@pytest.fixture
def refused(refusal, generators, image_bundle, tmp_path):
    def call(kind, *words, status=1):
        out = tmp_path / "refused"
        words = ("sample", generators[kind], "--codec", image_bundle, "-o", out, *words)
        line = refusal(*words, status=status)
        assert not list(out.glob("*.png"))
        return line

    return call


def test_classes_become_files_and_records(sample, codec, generators, tmp_path):
    words = ["--class", "dog", "--class", "0", "--count", 2, "--guidance", 2, "--seed", 5, "--grid"]
    files = sample("classes", tmp_path / "out", *words, "--batch-size", 3)
    names = [f"{number:06}.png" for number in range(4)]
    assert sorted(files) == sorted([*names, "grid.png", "request.json", "samples.json"])
    records = json.loads(files["samples.json"])
    assert [record["file"] for record in records] == names
    assert [(record["label"], record["seed"]) for record in records] == [
        *((1, 5), (1, 6), (0, 7), (0, 8))
    ]
    assert records[0]["guidance"] == 2 and records[0]["codec_fingerprint"] == codec.fingerprint
    assert len({files[name] for name in names}) == 4
    grid = Image.open(io.BytesIO(files["grid.png"]))
    assert grid.size == (130 + 2 * 68, 2 * 68)
    alone = sample("classes", tmp_path / "alone", "--class", "dog", "--seed", 6, "--guidance", 2)
    assert alone["000000.png"] == files["000001.png"]


def test_what_is_written_is_what_the_parts_draw(sample, make, codec, tmp_path):
    sample("texts", tmp_path / "out", "--text", "a cat", "--seed", 4)
    bundle = json.loads((tmp_path / "out" / "samples.json").read_text())[0]
    assert bundle["text"] == "a cat" and bundle["generator"] == "tiny pipeline"
    generator = make(codec, RasterOrder(), TextCondition(prefix=3, rows=99))
    drawn = Sampler().generate(generator, generator.condition.of_texts(["a cat"]), seed=4)
    expected = to_pixels(codec.decode(codec.tokens(drawn, (4, 4))))[0]
    assert torch.equal(read_image(tmp_path / "out" / "000000.png"), expected)


def test_the_same_command_goes_on(sample, intaglio, generators, image_bundle, tmp_path):
    out, words = tmp_path / "out", ["--class", "cat", "--count", 3]
    whole = sample("classes", out, *words)
    (out / "000001.png").unlink()
    (out / "000000.png").write_bytes(b"left alone")
    again = sample("classes", out, *words)
    assert again["000000.png"] == b"left alone" and again["000001.png"] == whole["000001.png"]
    line = intaglio(
        *("sample", generators["classes"], "--codec", image_bundle, "-o", out, "--class", "dog")
    )
    assert line.status == 1 and "holds images of another request; add --overwrite" in line.err
    assert sample("classes", out, *words, "--overwrite") == whole


@pytest.mark.parametrize(
    "rule",
    [
        *("budget:eps=0.4", "annealed:delta=3,nu=0", "grouped:size=4,corrected=false"),
        *("coarse:groups=3,shared=2", "neighbour:count=3,delta=0.5", "neighbour:count=3,factor=4"),
    ],
)
def test_approximate_rules_say_how_far_off_they_are(sample, tmp_path, rule):
    words = ["--class", "dog", "--count", 3, "--drafter", "jacobi", "--accept", rule]
    records = json.loads(sample("classes", tmp_path / "drafted", *words)["samples.json"])
    for record in records:
        assert record["exact"] is False and record["accept"] == rule
    assert sum(record["tv_excess"] for record in records) > 0


def test_a_codebook_without_the_ids_of_a_rule_is_refused(refused):
    line = refused("classes", "--drafter", "jacobi", "--accept", "coarse:groups=0")
    assert "ids have 1 or more groups" in line


def test_drafts_change_no_image_and_are_counted(sample, refused, tmp_path):
    words = ["--class", "dog", "--count", 3, "--guidance", 2]
    plain = sample("classes", tmp_path / "plain", *words)
    drafts = ["--drafter", "jacobi", "--window", 4]  # else the clock decides on it
    drafted = sample("classes", tmp_path / "drafted", *words, *drafts)
    assert all(drafted[name] == plain[name] for name in plain if name.endswith(".png"))
    records = json.loads(drafted["samples.json"])
    for record in records:
        assert record["exact"] is True and record["tv_excess"] == 0
        assert record["tokens_per_pass"] == pytest.approx(16 / record["passes"], abs=0.001)
        assert (record["drafter"], record["accept"]) == ("jacobi", "gumbel")
    (tmp_path / "drafted" / "000001.png").unlink()
    again = sample("classes", tmp_path / "drafted", *words, *drafts)
    assert json.loads(again["samples.json"]) == records
    words += ["--drafter", "jacobi", "--accept", "rejection", "--per-shard", 2]
    sample("classes", tmp_path / "shards", *words)
    [*inside] = read_shard(tmp_path / "shards" / "000000.tar")
    assert {"exact", "passes", "acceptance"} <= json.loads(inside[1].files["json"]).keys()
    line = refused("masked", "--class", "dog", "--drafter", "jacobi")
    assert "draws row by row" in line and "without a drafter" in line


def test_shards_hold_the_files(sample, tmp_path):
    words = ["--class", "tree", "--count", 5, "--batch-size", 2]
    files = sample("classes", tmp_path / "files", *words)
    shards = sample("classes", tmp_path / "shards", *words, "--per-shard", 3)
    assert sorted(shards) == ["000000.tar", "000001.tar", "request.json", "samples.json"]
    samples = [
        one
        for name in ("000000.tar", "000001.tar")
        for one in read_shard(tmp_path / "shards" / name)
    ]
    assert [one.files["png"] for one in samples] == [files[f"{n:06}.png"] for n in range(5)]
    assert [json.loads(one.files["json"])["seed"] for one in samples] == list(range(5))
    (tmp_path / "shards" / "000001.tar").unlink()
    assert sample("classes", tmp_path / "shards", *words, "--per-shard", 3) == shards


def test_texts_of_a_file(sample, tmp_path):
    (tmp_path / "texts.txt").write_text("a cat\n\nred\n")
    files = sample("texts", tmp_path / "out", "--texts", tmp_path / "texts.txt")
    assert [one["text"] for one in json.loads(files["samples.json"])] == ["a cat", "red"]


def test_without_class_or_text_samples_are_unconditional(sample, make, codec, tmp_path):
    files = sample("classes", tmp_path / "out", "--seed", 2)
    generator = make(codec, RasterOrder(), ClassCondition(3))
    drawn = Sampler().generate(generator, torch.tensor([-1]), seed=2)
    expected = to_pixels(codec.decode(codec.tokens(drawn, (4, 4))))[0]
    assert torch.equal(read_image(tmp_path / "out" / "000000.png"), expected)
    assert "label" not in json.loads(files["samples.json"])[0]


def test_only_the_region_is_drawn(sample, make, codec, draw, tmp_path):
    """Squares with a white pixel of the mask get other tokens, the rest keep theirs."""
    image = draw(tmp_path / "image.png", 16, 16)
    mask = torch.zeros(3, 16, 16, dtype=torch.uint8)
    mask[:, 5:9, 11] = 255  # one pixel below the first row of squares, into the third
    write_image(tmp_path / "mask.png", mask)
    generator = make(codec, MaskedOrder(16, steps=4), ClassCondition(3))
    pipeline = image_pipeline(
        generator, codec, Sampler(), region=InpaintingRegion(read_image(image), mask[0] > 0)
    )
    ids = codec.encode(to_unit(read_image(image)).unsqueeze(0)).ids
    assert torch.equal(pipeline.given.tokens, ids)
    assert (~pipeline.given.given[0]).nonzero().flatten().tolist() == [4 + 2, 8 + 2]
    words = ["--inpaint", image, "--mask", tmp_path / "mask.png", "--class", "cat", "--count", 2]
    sample("masked", tmp_path / "out", *words)
    expected = pipeline.draw([SampleRequest(0, 0), SampleRequest(1, 0)])
    for number in range(2):
        found = read_image(tmp_path / "out" / f"{number:06}.png")
        assert torch.equal(found, expected[number])


def test_bad_regions_are_refused(refused, codec, draw, tmp_path):
    image, mask = draw(tmp_path / "image.png", 16, 16), tmp_path / "mask.png"
    region = ["--inpaint", image, "--mask", mask]
    assert "belong together" in refused("masked", "--inpaint", image, status=2)
    write_image(mask, torch.zeros(3, 16, 16, dtype=torch.uint8))
    assert "no white pixel" in refused("masked", *region)
    write_image(mask, torch.zeros(3, 16, 12, dtype=torch.uint8))
    assert "the mask has 12 x 16 pixels, the image 16 x 16" in refused("masked", *region)
    white = torch.zeros(3, 16, 16, dtype=torch.uint8)
    white[:, :4] = 255
    write_image(mask, white)
    assert "takes an order that masks" in refused("classes", *region)


@pytest.mark.parametrize(
    ("kind", "words", "reason"),
    [
        ("classes", ["--class", "dig"], "no class 'dig': give one of dog, or a number below 3"),
        ("classes", ["--class", "3"], "no class '3'"),
        ("classes", ["--text", "a cat"], "is conditioned on classes, not texts: use --class"),
        ("texts", ["--class", "cat"], "is conditioned on texts, not classes: use --text"),
        ("texts", ["--text", " ?! "], "the text ' ?! ' has no words"),
        ("texts", ["--text", "one two three four"], "a text of 4 words, the generator takes 3"),
        ("classes", ["--steps", "3"], "a raster order takes 16 steps, not 3"),
        ("masked", ["--steps", "17"], "16 tokens cannot be drawn in 17 steps"),
        ("masked", ["--tokens", "3"], "tiny pipeline draws all 16 tokens"),
    ],
)
def test_bad_requests_are_one_line(refused, kind, words, reason):
    assert reason in refused(kind, *words)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--temperature", "-1"], "--temperature: it is a number above 0, not '-1'"),
        (["--top-p", "0"], "--top-p: it is a probability above 0"),
        (["--guidance", "nan"], "--guidance: it is a guidance scale, 0 or above, not 'nan'"),
        (["--window", "many"], "--window: it is a whole number from 0"),
        (["--count", "0"], "--count: it is a whole number from 1"),
        (["--seed", f"{10**30}"], "--seed: it is a whole number from -1e+18 to 1e+18, not"),
        (["--grid", "--per-shard", "2"], "--grid is for files"),
    ],
)
def test_wrong_options_are_wrong_usage(refused, words, reason):
    assert reason in refused("classes", *words, status=2)


def test_a_refused_request_leaves_the_folder_free(refused, sample, tmp_path):
    refused("classes", "--class", "cat", "--steps", 3)
    assert not (tmp_path / "refused").exists()
    assert "000000.png" in sample("classes", tmp_path / "refused", "--class", "cat")


def test_another_codec_is_refused(refusal, generators, tiny_image_codec_of, tmp_path):
    other = save(tiny_image_codec_of(2, "other picture"), tmp_path / "other")
    line = refusal(*("sample", generators["classes"], "--codec", other, "-o", tmp_path / "out"))
    assert "draws tokens of tiny picture" in line and "not of other picture" in line
    line = refusal("sample", other, "--codec", other, "-o", tmp_path / "out")
    assert "holds ImageCodec, not a generator" in line
