"""rFID and LPIPS: where their weights come from, what they are called, and when they are given."""

import json

import pytest
import torch
from torch import nn

from intaglio.codecs.losses.lpips import CHANNELS, LPIPS
from intaglio.codecs.losses.pretrained import checksum
from intaglio.recipes.evaluation.image import published_metrics
from intaglio.recipes.evaluation.image.metrics import frechet_distance
from intaglio.recipes.evaluation.image.published_metrics import (
    FrechetInceptionDistance,
    LearnedDistance,
)
from intaglio.recipes.evaluation.image.selection import select_image_metrics
from intaglio.recipes.evaluation.items import Item, ItemSet


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory):
    """A file like torchvision's, random."""
    generator = torch.Generator().manual_seed(5)
    state, number, width = {}, 0, 3
    for stage in CHANNELS:
        for size in stage:
            weight = torch.randn(size, width, 3, 3, generator=generator)
            state[f"features.{number}.weight"] = weight * (2 / 9 / width) ** 0.5
            state[f"features.{number}.bias"] = torch.zeros(size)
            number, width = number + 2, size
        number += 1
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(state, path)
    return path


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Empty folder of torch.hub."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    folder = tmp_path / "home" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def shrunk(monkeypatch):
    """In place of the network, which is slow: means of quarters of the picture as features."""

    class Shrunk(nn.Module):
        def __init__(self, file):
            super().__init__()
            self.calls = 0

        def features(self, images):
            self.calls += 1
            pixels = torch.stack(images).float() / 255
            return nn.functional.adaptive_avg_pool2d(pixels, 2).flatten(1)

    monkeypatch.setattr(published_metrics.inception, "Inception", Shrunk)


def image_sets(count=5, size=20):
    x = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)
    originals = ItemSet([Item(str(number), one) for number, one in enumerate(x)])
    return originals, originals.decoded(list(255 - x // 2))


def test_the_score_is_the_distance_of_inceptions_features(inception_file):
    originals, decoded = image_sets(2)
    metric = FrechetInceptionDistance(inception_file, biased=True)
    score = metric.score(originals, decoded)
    with torch.no_grad():
        x, y = (metric.network(torch.stack(one.contents)).double() for one in (originals, decoded))
    assert score.mean == pytest.approx(frechet_distance(x, y), rel=1e-4) and score.mean > 0.01
    assert (score.measured, score.failures, score.low) == (2, 0, None)
    assert score.reason == "biased upwards with fewer than 10,240 images, here 2"
    assert metric.score(originals, originals).mean == pytest.approx(0, abs=1e-4)


def test_a_biased_distance_is_given_only_where_asked(shrunk, inception_file, monkeypatch):
    originals, decoded = image_sets()
    quiet, asked = (FrechetInceptionDistance(inception_file, biased=b) for b in (False, True))
    absent = quiet.score(originals, decoded)
    assert absent.mean is None and absent.reason.startswith("absent: biased")
    assert quiet.network.calls == 0
    assert asked.score(originals, decoded).mean > 0
    asked.score(originals, decoded)
    assert asked.network.calls == 2  # features of a set are kept
    alone = ItemSet(originals.items[:1])
    assert asked.score(alone, alone).mean is None
    monkeypatch.setattr(published_metrics, "MIN_IMAGES", 5)
    enough = quiet.score(originals, decoded)
    assert enough.mean == asked.score(originals, decoded).mean and enough.reason == ""


def test_only_the_published_file_has_the_plain_name(shrunk, tmp_path, monkeypatch):
    path = tmp_path / "renamed.pth"
    path.write_bytes(b"weights")
    digits = checksum(path)[:8]
    assert FrechetInceptionDistance(path).name == f"rFID[{digits}]"
    names = (f"pt_inception-2015-12-05-{digits}.pth",)
    monkeypatch.setattr(published_metrics.inception, "FILES", names)
    metric = FrechetInceptionDistance(path)
    assert metric.name == metric.label == "rFID" and metric.decimals == 1
    path.write_bytes(b"other weights")
    assert FrechetInceptionDistance(path).name != "rFID"


def test_lpips_is_that_of_the_loss(vgg_file):
    originals, decoded = image_sets(3)
    metric = LearnedDistance(vgg_file)
    assert metric.name == f"lpips[{checksum(vgg_file)[:8]}]" and not metric.higher_is_better
    x, y = (torch.stack(one.contents) / 127.5 - 1 for one in (originals, decoded))
    with torch.no_grad():
        expected = LPIPS(str(vgg_file)).distances(x, y)
    score = metric.score(originals, decoded)
    assert score.mean == pytest.approx(expected.mean().item(), rel=1e-5)
    assert score.low < score.mean < score.high and expected.min() > 0.001
    assert metric.score(originals, originals).mean == 0
    small = metric.score(*image_sets(2, 15))
    assert small.mean is None and small.failures == 2 and "16 pixels" in small.reason


def test_they_are_left_out_unless_there_or_asked_for(hub, shrunk, vgg_file):
    def names(*words, **files):
        return [one.name.partition("[")[0] for one in select_image_metrics(*words, **files)]

    usual = ["psnr", "ssim", "lpips-lite", "rKID", "rFD", "rFD"]
    assert names() == usual
    asked = select_image_metrics(["rFID", "LPIPS"])
    assert [one.name for one in asked] == ["lpips", "rFID"]
    for metric, option in zip(asked, ("--vgg", "--inception"), strict=True):
        score = metric.score(*image_sets(2))
        assert score.mean is None and score.reason.startswith(f"absent: give {option} FILE")
        assert str(hub) in score.reason and ".pth" in score.reason
    assert names(vgg_file=str(vgg_file)) == [*usual, "lpips"]
    inception_file = hub / "weights-inception-2015-12-05-6726825d.pth"
    inception_file.write_bytes(b"weights")
    (hub / "vgg16-397923af.pth").symlink_to(vgg_file)
    assert names() == [*usual, "lpips", "rFID"] and names(["psnr"]) == ["psnr"]
    assert not select_image_metrics()[-1].biased and select_image_metrics(["rfid"])[-1].biased
    assert select_image_metrics(inception_file=str(inception_file))[-1].biased


@pytest.fixture
def data(draw, tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        draw(tmp_path / "data" / name, 24, 20)
    return tmp_path / "data"


def test_table_and_records(intaglio, data, image_bundle, shrunk, vgg_file, tmp_path):
    file = tmp_path / "i.pth"
    file.write_bytes(b"weights")
    fid, lpips = f"rFID[{checksum(file)[:8]}]", f"lpips[{checksum(vgg_file)[:8]}]"
    status, out, err = intaglio(
        "eval", "image", "--codec", image_bundle, "--data", data, "--metrics", "psnr,rfid,lpips",
        "--baselines", "jpeg-q30", "--inception", file, "--vgg", vgg_file,
        "--json", tmp_path / "e.json",
    )  # fmt: skip
    assert status == 0, err
    assert f"{fid}: biased upwards with fewer than 10,240 images" in out and lpips in out
    for record in json.loads((tmp_path / "e.json").read_text()):
        assert record["metrics"].keys() == {"psnr", fid, lpips}
        assert record["metrics"][fid] > 0 and record["metrics"][lpips] > 0
        assert record["qualified"].keys() == {fid} and "biased" in record["qualified"][fid]


def test_absent_weights_are_named_in_the_table(intaglio, data, image_bundle, hub):
    words = ("eval", "image", "--codec", image_bundle, "--data", data, "--baselines", "none")
    status, out, err = intaglio(*words, "--metrics", "psnr,rfid")
    assert status == 0, err
    assert "rFID: absent: give --inception FILE, or put pt_inception" in " ".join(out.split())
    status, out, err = intaglio(*words)
    assert status == 0 and "rFID" not in out and "lpips\n" not in out, err


def test_wrong_files_are_one_line(refusal, data, image_bundle, hub, vgg_file):
    base = ("eval", "image", "--data", data, "--baselines", "none", "--codec")
    line = refusal(*base, image_bundle, "--inception", vgg_file)
    assert f"{vgg_file} has no tensor Conv2d_1a_3x3.conv.weight; it should be pt_inception" in line
    (hub / "junk.pth").write_bytes(b"junk")
    line = refusal(*base, image_bundle, "--vgg", hub / "junk.pth")
    assert "junk.pth is no file of weights; it should be torchvision's vgg16-397923af.pth" in line
    assert "--vgg: there is no file nowhere" in refusal(*base, image_bundle, "--vgg", "nowhere")
