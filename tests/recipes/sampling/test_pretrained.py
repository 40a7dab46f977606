"""The generator that comes with the package draws what the text says."""

import json
from pathlib import Path

import pytest
import torch

from intaglio.data.formats.image import read_image
from intaglio.generators import load
from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.samplers.sampler import Sampler


def test_it_draws_what_the_text_says(intaglio, in_tmp_path):
    """Hands of a skin tone, a yellow face, a blue uniform; four of each."""
    texts = ["raised hand, dark skin tone", "raised hand, light skin tone"]
    texts += ["grinning face with smiling eyes", "woman police officer, dark skin tone"]
    words = [word for text in texts for word in ("--text", text)]
    words += ["--count", "4", "--guidance", "3", "--temperature", "0.9"]
    status, _, err = intaglio("sample", "emoji", "-o", "out", *words)
    assert status == 0, err
    pictures = torch.stack([read_image(f"out/{number:06}.png") for number in range(16)]).float()
    assert pictures.shape == (16, 3, 64, 64)
    dark, light, face, uniform = (255 - pictures).mean((2, 3)).view(4, 4, 3).mean(1)
    assert dark.mean() > 1.5 * light.mean()  # of what is not white
    assert face[2] > 3 * face[0] and uniform[0] > 1.1 * uniform[2]


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_it_draws_the_tokens_that_it_always_drew(scale):
    """Drawn when it was published; in double precision, so that rounding decides no token."""
    golden = json.loads(Path(__file__).with_name("emoji_tokens.json").read_text())
    wanted = [item for item in golden if item["scale"] == scale]
    generator = load("emoji").double()
    drawn = Sampler(guidance=Guidance(scale, "linear")).generate(
        generator,
        generator.condition.of_texts([item["text"] for item in wanted]),
        seed=torch.tensor([item["seed"] for item in wanted]),
    )
    assert drawn.squeeze(2).tolist() == [item["ids"] for item in wanted]
