"""Samples of any medium: what it decodes and writes is injected, the rest is the same."""

import json

import pytest
import torch

from intaglio.codecs import load as load_codec
from intaglio.data.formats.shards import read_shard
from intaglio.generators import load
from intaglio.generators.samplers.sampler import Sampler
from intaglio.recipes.sampling.folder import provenance_record, write_samples
from intaglio.recipes.sampling.pipeline import SamplingPipeline
from intaglio.recipes.sampling.requests import SampleRequest, requests_of


class Numbers:
    """The sum of the ids of an item, as text."""

    noun = "number"
    suffix = ".txt"

    def decode(self, tokens):
        return tokens.sum((1, 2))

    def to_bytes(self, item):
        return str(int(item)).encode()


@pytest.fixture(scope="module")
def generator(generator_bundle):
    return load(generator_bundle)


@pytest.fixture(scope="module")
def pipeline(generator):
    return SamplingPipeline(generator, Sampler(), Numbers())


def test_any_medium_is_written(pipeline, generator, image_bundle, tmp_path):
    requests = requests_of(generator, classes=["cat", "dog"], count=2, seed=3)
    about = provenance_record(generator, load_codec(image_bundle))
    files, kept = write_samples(pipeline, requests, tmp_path, about=about, batch_size=3)
    assert kept == 0
    drawn = Sampler().generate(
        generator, torch.tensor([0, 0, 1, 1]), seed=torch.tensor([3, 4, 5, 6])
    )
    found = [int(file.path.read_text()) for file in files]
    assert found == drawn.sum((1, 2)).tolist()
    assert [file.path.name for file in files] == [f"{number:06}.txt" for number in range(4)]
    records = json.loads((tmp_path / "samples.json").read_text())
    assert records[3] == {"file": "000003.txt", "seed": 6, "label": 1, **about}
    files[1].path.unlink()
    again = write_samples(pipeline, requests, tmp_path, about=about)
    assert again.kept == 3 and files[1].path.read_text() == str(found[1])
    with pytest.raises(FileExistsError, match="holds numbers of another request"):
        write_samples(pipeline, requests[:1], tmp_path, about=about)


def test_shards_hold_the_same_items(pipeline, tmp_path):
    requests = [SampleRequest(seed, 2) for seed in range(3)]
    write_samples(pipeline, requests, tmp_path / "files", about={})
    write_samples(pipeline, requests, tmp_path / "shards", about={}, per_shard=2)
    samples = [
        sample
        for name in ("000000.tar", "000001.tar")
        for sample in read_shard(tmp_path / "shards" / name)
    ]
    texts = [(tmp_path / "files" / f"{number:06}.txt").read_bytes() for number in range(3)]
    assert [sample.files["txt"] for sample in samples] == texts
    assert [json.loads(sample.files["json"]) for sample in samples] == [
        {"seed": seed, "label": 2} for seed in range(3)
    ]


def test_requests_are_numbered_and_unconditional_ones_have_neither(generator):
    assert requests_of(generator, count=2, seed=7) == [SampleRequest(7), SampleRequest(8)]
    assert SampleRequest(7).record() == {"seed": 7}


class Stopped(Exception):
    """Stands for a kill."""


class Stopping(Numbers):
    """Numbers, until there are too many."""

    def __init__(self, items):
        self.left = items

    def to_bytes(self, item):
        self.left -= 1
        if self.left < 0:
            raise Stopped
        return super().to_bytes(item)


def content(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_overwriting_replaces_the_items_of_another_request_at_once(pipeline, generator, tmp_path):
    first = requests_of(generator, classes=["cat"], count=3)
    second = requests_of(generator, classes=["dog"], count=2, seed=9)
    write_samples(pipeline, second, tmp_path / "fresh", about={})
    out = tmp_path / "out"
    write_samples(pipeline, first, out, about={})
    (out / "grid.png").write_text("of the first")
    (out / "notes").write_text("mine")
    before = content(out)
    for items in (0, 1):
        stopping = SamplingPipeline(generator, Sampler(), Stopping(items))
        with pytest.raises(Stopped):
            write_samples(stopping, second, out, about={}, overwrite=True)
        assert content(out) == before
    with pytest.raises(FileExistsError):  # none of them is taken for one of the second request
        write_samples(pipeline, second, out, about={})
    files, kept = write_samples(pipeline, second, out, about={}, overwrite=True)
    assert kept == 0 and all(file.path.parent == out and file.path.exists() for file in files)
    assert content(out) == content(tmp_path / "fresh") | {"notes": "mine"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fresh", "out"]


def test_a_request_that_is_refused_leaves_nothing(pipeline, generator, tmp_path):
    refused = [SampleRequest(0, label=99)]
    with pytest.raises((ValueError, IndexError)):
        write_samples(pipeline, refused, tmp_path / "a" / "b", about={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"\xff", b"[" * 100_000, b"{}"])
def test_a_damaged_request_is_that_of_others_and_can_be_overwritten(
    generator, pipeline, tmp_path, content
):
    requests = requests_of(generator, classes=["cat"])
    write_samples(pipeline, requests, tmp_path, about={})
    (tmp_path / "request.json").write_bytes(content)
    with pytest.raises(FileExistsError, match="of another request"):
        write_samples(pipeline, requests, tmp_path, about={})
    write_samples(pipeline, requests, tmp_path, about={}, overwrite=True)
    assert write_samples(pipeline, requests, tmp_path, about={}).kept == 1


@pytest.mark.parametrize("name", ["request.json", "samples.json"])
@pytest.mark.parametrize("foreign", ['{"cart": 3}', "[1]", '[{"file": "a"}]', "{", "mine"])
def test_records_of_other_programs_stay(generator, pipeline, tmp_path, name, foreign):
    requests = requests_of(generator, classes=["cat"])
    (tmp_path / name).write_text(foreign)
    with pytest.raises(FileExistsError, match=f"{tmp_path} holds {name} of another program; add"):
        write_samples(pipeline, requests, tmp_path, about={})
    assert content(tmp_path) == {name: foreign}
    write_samples(pipeline, requests, tmp_path, about={}, overwrite=True)
    assert sorted(content(tmp_path)) == ["000000.txt", "request.json", "samples.json"]


def test_records_without_items_give_way_to_another_request(generator, pipeline, tmp_path):
    write_samples(pipeline, requests_of(generator, classes=["cat"]), tmp_path, about={})
    (tmp_path / "000000.txt").unlink()
    other = requests_of(generator, classes=["dog"])
    assert write_samples(pipeline, other, tmp_path, about={}).kept == 0


def test_an_interrupted_request_goes_on(generator, pipeline, tmp_path):
    requests = requests_of(generator, classes=["cat"], count=3)
    stopping = SamplingPipeline(generator, Sampler(), Stopping(2))
    with pytest.raises(Stopped):
        write_samples(stopping, requests, tmp_path, about={})
    (tmp_path / ".000002.txt.intaglio-part").write_text("left by a kill")
    assert write_samples(pipeline, requests, tmp_path, about={}).kept == 2
    names = [*(f"{number:06}.txt" for number in range(3)), "request.json", "samples.json"]
    assert sorted(content(tmp_path)) == names
