"""What comes with the package: it is small, says where it is from, and draws what it is told."""

import torch

from intaglio.data.formats.image import read_image
from intaglio.recipes.pretrained import FOLDER, pretrained


def test_it_is_small_and_says_where_it_is_from():
    sizes = [path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()]
    assert 1e6 < sum(sizes) < 10e6
    for folder in FOLDER.iterdir():
        assert "MIT" in (folder / "NOTICE.md").read_text()


def test_a_folder_of_the_user_goes_before(in_tmp_path):
    assert pretrained("emoji").generator.is_dir() and pretrained("emoji").codec.is_dir()
    for name in ("", ".", "..", "nothing", "emoji/codec"):
        assert pretrained(name) is None
    (in_tmp_path / "emoji").mkdir()
    assert pretrained("emoji") is None


def test_it_draws_what_it_is_told(intaglio, in_tmp_path):
    """Hearts and books of a colour have more of it than of the other."""
    texts = ["red heart", "blue heart", "green book", "orange book"]
    words = [word for text in texts for word in ("--text", text)]
    status, _, err = intaglio("sample", "emoji", "-o", "out", *words, "--count", 4, "--grid")
    assert status == 0, err
    pictures = torch.stack([read_image(f"out/{number:06}.png") for number in range(16)]).float()
    assert pictures.shape == (16, 3, 64, 64)
    colours = (255 - pictures).mean((2, 3)).view(4, 4, 3).mean(1)  # of what is not white
    red, blue, green, orange = colours
    print(colours)
    assert red[0] < red[2] and blue[2] < blue[0]
    assert green[1] < green[0] and orange[0] < orange[2]
