"""`intaglio data`: the table names every set, and `get` hands back a folder."""

import argparse

import pytest

from intaglio.data.formats.wave import write_wave
from intaglio.data.manifest import Record, write_manifest
from intaglio.data.sets import SETS, RealSet
from intaglio.recipes.commands import data


def command(*words: str) -> None:
    parser = argparse.ArgumentParser()
    data.add_arguments(parser)
    data.run(parser.parse_args(words))


@pytest.fixture
def home(tmp_path, monkeypatch, generator):
    """A home in which one set is present."""
    folder = tmp_path / SETS[0].name
    folder.mkdir()
    write_wave(folder / "a.wav", generator_wave(generator), 8_000)
    write_manifest(folder / "manifest.jsonl", [Record("a.wav", 0.1)])
    monkeypatch.setenv("INTAGLIO_DATA", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def generator_wave(generator):
    import torch

    return 0.1 * torch.randn(1, 800, generator=generator)


def test_list_says_what_each_set_is_and_whether_it_is_there(home, capsys):
    command("list")
    text = capsys.readouterr().out
    lines = text.splitlines()
    for known in SETS:
        (row,) = (line for line in lines if line.split()[:1] == [known.name])
        assert f" {known.items} {known.unit} " in row
        assert f"{known.minutes:.1f}" in row or known.kind == "image"
        assert row.split()[-1] == ("yes" if known is SETS[0] else "no")
        facts = (known.about, f"licence: {known.licence}", f"from: {known.source}")
        assert "\n  ".join([f"{known.name}:", *facts]) in text


def test_list_fits_a_terminal_and_breaks_no_word(home, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    command("list")
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    words = {word for known in SETS for word in f"{known.licence} {known.source}".split()}
    assert words <= {*text.split()}


def test_list_looks_under_another_root(home, tmp_path, capsys):
    command("list", "--root", str(tmp_path / "empty"))
    assert " yes" not in capsys.readouterr().out


def test_get_prints_the_folder_and_shows_progress(home, capsys, monkeypatch):
    def build(folder):
        for number in range(3):
            (folder / f"{number}.wav").touch()
            yield Record(f"{number}.wav", 1.0)

    made = RealSet("speech-made", "about", "free", "nowhere", 3, 0.05, 1, build)
    monkeypatch.setattr("intaglio.data.sets.SETS", (made,))
    command("get", "speech-made")
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [str(home / "speech-made")]
    assert "3/3" in captured.err
    command("get", "speech-made", "--root", str(home / "x"))
    assert (home / "x" / "speech-made" / "manifest.jsonl").is_file()


def test_wrong_words(home):
    for words in ([], ["get"], ["get", "nothing"], ["drop", "x"]):
        with pytest.raises(SystemExit) as caught:
            command(*words)
        assert caught.value.code == 2
