"""The sample script of images: what it draws is what the command draws; its help explains it."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

from intaglio.codecs import load
from intaglio.data.formats.image import read_image
from intaglio.recipes import samples

SCRIPT = Path(samples.__file__).parent / "images.py"


@pytest.fixture
def run(monkeypatch):
    """Run the script with some words."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, words)])
        runpy.run_path(str(SCRIPT), run_name="__main__")

    return call


def test_the_script_draws(run, generator_bundle, image_bundle, intaglio, in_tmp_path):
    run(generator_bundle, image_bundle, "dog", "0", "--columns", "2")
    found = read_image("images.png")
    assert found.shape == (3, 32, 32)
    words = ["sample", generator_bundle, "--codec", image_bundle, "-o", "out", "--class", "dog"]
    assert intaglio(*words, "--class", "0", "--count", 2, "--guidance", 2).status == 0
    images = [read_image(Path("out") / f"{number:06}.png") for number in range(4)]
    rows = [torch.cat(images[:2], 2), torch.cat(images[2:], 2)]
    assert torch.equal(found, torch.cat(rows, 1))
    assert load(image_bundle).image_size == 16


def test_what_is_wrong_is_one_line(run, generator_bundle, image_bundle, bundle):
    for words, reason in (
        ([generator_bundle, bundle, "dog"], "is not a codec of images"),
        (["nowhere", image_bundle, "dog"], "nowhere"),
        ([generator_bundle, image_bundle, "unicorn"], "there is no class 'unicorn'"),
    ):
        with pytest.raises(SystemExit, match=reason) as caught:
            run(*words)
        assert str(caught.value).startswith("images.py: ") and "\n" not in str(caught.value)


def test_its_help_explains_it(run, capsys):
    with pytest.raises(SystemExit):
        run("--help")
    text = capsys.readouterr().out
    assert "GENERATOR CODEC" in text and "a red apple" in text and "--guidance" in text


def test_it_is_short():
    assert len(SCRIPT.read_text().splitlines()) <= 60
