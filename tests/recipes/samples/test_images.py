"""The sample script of images: what it draws is what the command draws; its help teaches."""

import runpy
import subprocess
import sys
from pathlib import Path

import torch

from intaglio.codecs import load
from intaglio.data.formats.image import read_image
from intaglio.recipes import samples

SCRIPT = Path(samples.__file__).parent / "images.py"


def test_the_script_draws(painted, image_bundle, intaglio, in_tmp_path, monkeypatch):
    monkeypatch.setattr(
        sys, "argv", [str(SCRIPT), str(painted), str(image_bundle), "dog", "0", "--columns", "2"]
    )
    runpy.run_path(str(SCRIPT), run_name="__main__")
    found = read_image("images.png")
    assert found.shape == (3, 32, 32)
    words = ["sample", painted, "--codec", image_bundle, "-o", "out", "--class", "dog"]
    assert intaglio(*words, "--class", "0", "--count", 2, "--guidance", 2).status == 0
    images = [read_image(Path("out") / f"{number:06}.png") for number in range(4)]
    rows = [torch.cat(images[:2], 2), torch.cat(images[2:], 2)]
    assert torch.equal(found, torch.cat(rows, 1))
    assert load(image_bundle).image_size == 16


def test_its_help_teaches():
    words = [sys.executable, str(SCRIPT), "--help"]
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "GENERATOR CODEC" in text and "a red apple" in text and "--guidance" in text


def test_it_is_short():
    assert len(SCRIPT.read_text().splitlines()) <= 60
