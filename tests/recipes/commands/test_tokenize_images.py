"""``intaglio tokenize`` of images: squares, views, and what goes along with the tokens."""

import io
import json

import pytest
import torch

from intaglio.codecs import load
from intaglio.data.formats.image import read_image
from intaglio.data.formats.shards import read_row, read_shard
from intaglio.data.formats.tokens import read_tokens
from intaglio.data.image_transforms import fitted, to_unit, view


@pytest.fixture
def pictures(draw, tmp_path):
    return [draw(tmp_path / "in" / name, 20, 26) for name in ("a.png", "cats/b.webp", "cats/c.jpg")]


@pytest.fixture
def tokenize(intaglio, image_bundle, tmp_path):
    def run(*words):
        out = tmp_path / "out"
        return intaglio("tokenize", tmp_path / "in", "-o", out, "--codec", image_bundle, *words)

    return run


def ids_of(sample):
    return read_tokens(io.BytesIO(sample.files["intaglio"]))


def test_every_picture_becomes_the_tokens_of_its_square(tokenize, pictures, image_bundle, tmp_path):
    status, out, err = tokenize("--batch-size", 2, "--per-shard", 2)
    assert status == 0, err
    assert "3 images in 2 shards, 0 damaged" in out
    codec = load(image_bundle)
    shards = [tmp_path / "out" / f"00000{number}.tar" for number in range(2)]
    samples = [sample for shard in shards for sample in read_shard(shard)]
    assert [sample.key for sample in samples] == ["000000000", "000000001", "000000002"]
    for sample in samples:
        header, ids = ids_of(sample)
        record = json.loads(sample.files["json"])
        pixels = fitted(read_image(tmp_path / "in" / record["path"]), codec.image_size)
        expected = codec.encode(to_unit(pixels).unsqueeze(0))
        assert torch.equal(ids, expected.ids[0])
        assert header.fingerprint == codec.fingerprint
        assert (header.picture.height, header.picture.rows) == (16, 4)
    assert read_row(shards[0]).about["size"] == 16


def test_ten_views_are_ten_samples_of_one_picture(tokenize, pictures, image_bundle, tmp_path):
    status, out, err = tokenize("--views", 10, "--batch-size", 7)
    assert status == 0, err
    assert "30 views of images in 1 shard" in out
    codec = load(image_bundle)
    samples = list(read_shard(tmp_path / "out" / "000000.tar"))
    assert [sample.key for sample in samples[:11]] == [
        *(f"000000000-{number}" for number in range(10)),
        "000000001-0",
    ]
    pixels = read_image(pictures[0])
    for number, sample in enumerate(samples[:10]):
        header, ids = ids_of(sample)
        expected = codec.encode(to_unit(view(pixels, 16, number)).unsqueeze(0))
        assert torch.equal(ids, expected.ids[0]) and header.extras["view"] == str(number)
        assert json.loads(sample.files["json"])["path"] == "a.png"


def test_the_same_bytes_again_and_other_views_are_refused(tokenize, pictures, tmp_path):
    assert tokenize("--views", 2)[0] == 0
    first = (tmp_path / "out" / "000000.tar").read_bytes()
    assert tokenize("--views", 2, "--overwrite", "--batch-size", 1)[0] == 0
    assert (tmp_path / "out" / "000000.tar").read_bytes() == first
    status, _, err = tokenize("--views", 1)
    assert status == 1 and "was made with another views (2, now 1)" in err


def test_damaged_pictures_are_named(tokenize, pictures, tmp_path):
    (tmp_path / "in" / "bad.png").write_bytes(b"no image")
    status, out, err = tokenize()
    assert status == 1 and "bad.png" in err and "3 images in 1 shard, 1 damaged" in out


def test_wrong_words_are_one_line(refusal, pictures, image_bundle, bundle, tmp_path):
    base = ("tokenize", tmp_path / "in", "-o", tmp_path / "out", "--codec")
    line = refusal(*base, image_bundle, "--views", 3, status=2)
    assert "--views: invalid choice: 3 (choose from 1, 2, 10)" in line
    assert "multiples of 4 pixels, not 18" in refusal(*base, image_bundle, "--size", 18)
    assert "are for images" in refusal(*base, bundle, "--views", 2)
    line = refusal(*base, image_bundle, "--batch-size", 0, status=2)
    assert "--batch-size: it is a whole number from 1" in line
    assert not (tmp_path / "out").exists()
