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
