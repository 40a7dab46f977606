"""The figure of drawn images next to real ones."""

import pytest
import torch

from intaglio.recipes.evaluation.figures.samples import Shown, sample_figure


def test_the_figure_has_a_block_for_eight(tmp_path):
    pytest.importorskip("matplotlib", reason="pip install 'intaglio[demo]'")
    from PIL import Image

    picture = torch.zeros(3, 16, 16, dtype=torch.uint8)
    shown = Shown("a very long caption of a small black square", picture, picture, picture)
    heights = []
    for count in (8, 9):
        path = tmp_path / f"{count}.png"
        path.write_bytes(sample_figure([shown] * count))
        with Image.open(path) as picture_file:
            heights.append(picture_file.height)
    assert heights[1] == 2 * heights[0]
    with pytest.raises(ValueError, match="no pictures"):
        sample_figure([])
