"""``intaglio recipes`` lists every shipped recipe with one line, or prints one."""

import pytest

from intaglio.recipes.cli import find
from intaglio.recipes.commands.recipes import FOLDER, GROUPS, listed


def test_every_recipe_has_its_line(intaglio):
    status, out, _ = intaglio("recipes")
    assert status == 0
    for group in GROUPS:
        names = {path.stem for path in (FOLDER / group).glob("*.yaml")}
        assert {name.partition("/")[2] for name in listed(group)} == names != set()
        for name, line in listed(group).items():
            assert f"  {name} " in out and line in out and find(name)


@pytest.mark.parametrize("group", GROUPS)
def test_the_first_line_of_a_recipe_stands_alone(group):
    for name, line in listed(group).items():
        assert line[-1] in ".?)`" and len(line) < 120, name


def test_the_lines_of_codecs_say_what_they_cost():
    for name, line in listed("audio").items():
        assert "kbit/s" in line, name
    tokenizers = {"flextok", "image_small", "magvit2", "titok", "tokenbridge", "var_tokenizer"}
    for name in {"vqgan", "wetok", *tokenizers}:
        assert "bytes" in listed("image")[f"image/{name}"], name


def test_one_is_printed_whole(intaglio):
    status, out, _ = intaglio("recipes", "audio/speech_small")
    assert status == 0 and out == (FOLDER / "audio" / "speech_small.yaml").read_text()
    status, _, err = intaglio("recipes", "audio/speech_smal")
    assert status == 2 and "did you mean audio/speech_small" in err
